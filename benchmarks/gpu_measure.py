"""What a process does with small trainings on a GPU: their speed, launches and AP50."""

import time
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_stacked import STACKED, Stacked
from benchmarks.gpu_ways import SCHEDULE, WARM_UP, WAYS, Captured, Setting
from mgral.config import EvaluationConfig
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import detect_images

PROFILED = 5
"""Steps whose kernels are counted."""


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure(pipe: Connection, setting: Setting, way: str, seed: int, trainings: int) -> dict[str, float]:
    """Time trainings of this process, each on a stream of its own or all stacked, for as long as the pipe says.

    Returns
    -------
    Images a second, of all of them; the processor cores that the process kept busy; milliseconds a step of all.
    """
    torch.manual_seed(seed)
    own = trainings > 1 and setting.device == "cuda" and way != STACKED
    streams = [torch.cuda.Stream() if own else None for _ in range(1 if way == STACKED else trainings)]
    running: list[Any] = []
    for number, stream in enumerate(streams):
        with torch.cuda.stream(stream):
            if way == STACKED:
                running.append(Stacked(setting, seed, SCHEDULE, trainings=trainings))
            else:
                running.append(WAYS[way](setting, seed + number, SCHEDULE, only_flips=False))

    def step() -> None:
        for training, stream in zip(running, streams, strict=True):
            with torch.cuda.stream(stream):
                training.step()

    for _ in range(WARM_UP):
        step()
    _synchronize(setting.device)
    pipe.send("ready")
    seconds = pipe.recv()
    started, used, steps = time.perf_counter(), time.process_time(), 0
    while steps == 0 or time.perf_counter() < started + seconds:
        step()
        steps += 1
    _synchronize(setting.device)
    took = time.perf_counter() - started
    return {
        "images_per_second": steps * trainings * setting.batch / took,
        "cores": (time.process_time() - used) / took,
        "milliseconds_a_step": 1000 * took / steps,
    }


def count_kernels(pipe: Connection, setting: Setting, way: str) -> dict[str, float]:
    """Return what torch's profiler sees of a step: kernels, launches, graphs, copies, waits, milliseconds."""
    training = WAYS[way](setting, 0, SCHEDULE, only_flips=False)
    for _ in range(WARM_UP):
        training.step()
    _synchronize(setting.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if setting.device == "cuda" else [])]
    with profile(activities=activities) as seen:
        for _ in range(PROFILED):
            training.step()
        _synchronize(setting.device)
    found = {"kernels": 0.0, "launches": 0.0, "graphs": 0.0, "copies": 0.0, "waits": 0.0, "gpu_milliseconds": 0.0}
    for event in seen.key_averages():
        if "#" in event.key:  # names of ranges, such as Optimizer.step#AdamW.step
            continue
        if event.device_type == DeviceType.CUDA:
            found["copies" if event.key.startswith("Memcpy") else "kernels"] += event.count
            found["gpu_milliseconds"] += event.self_device_time_total / 1000
        elif event.key.startswith("cuda"):
            for kind, names in (("launches", "LaunchKernel"), ("graphs", "GraphLaunch"), ("waits", "Synchronize")):
                found[kind] += event.count * (names in event.key)
    return {kind: value / PROFILED for kind, value in found.items()}


def score(pipe: Connection, setting: Setting, way: str, seed: int, iterations: int) -> dict[str, float]:
    """Train once, with flips alone, and return AP50 on the test images, 0 to 100."""
    torch.manual_seed(seed)
    training = WAYS[way](setting, seed, iterations, only_flips=True)
    for _ in range(iterations - (WARM_UP if isinstance(training, Captured) else 0)):
        training.step()
    test = setting.images("test")
    ids = test.dataset.image_ids
    found = detect_images(
        training.detector.eval(), test.dataset, test.images, test.dataset.rows(ids), EvaluationConfig()
    )
    return {"ap50": 100 * float(score_detections(test.truth(), found, ids.tolist())["ap50"] or 0)}


def work(pipe: Connection, device: str) -> None:
    """Do what the other end of the pipe asks for, until it is closed: a function of this module and its arguments."""
    torch.set_num_threads(1)
    pipe.send(torch.cuda.get_device_name() if device == "cuda" else "cpu")
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(function(pipe, *arguments))
        except Exception as error:  # which is a result too: the next way may work
            pipe.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        if device == "cuda":
            torch.cuda.empty_cache()
