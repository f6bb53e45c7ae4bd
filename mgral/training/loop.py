"""The training loop, the same for a cycle's detector, the base of a table and its variants."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import fast_precision
from mgral.compute.distributed import log_rank0, mean_over_processes, processes, rank
from mgral.compute.progress import tracked
from mgral.config import TrainingConfig
from mgral.errors import InputError
from mgral.models.interface import DenseModel, DetectorModel, Predictions, Targets
from mgral.training.average import make_average
from mgral.training.batches import TrainingImages
from mgral.training.checkpoint import Checkpoint
from mgral.training.consistency import consistency_loss, ramp
from mgral.training.feed import Feed, Part, place
from mgral.training.losses import Losses

PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""What convolutions may compute in, beside float32."""
COMPILERS = ("c++", "g++", "clang++")
"""One of which torch.compile needs."""
STEP_FACTOR = 0.1
"""Factor of the learning rate at each step of the schedule `steps`."""


@dataclass(frozen=True)
class Unlabelled:
    """What a semi-supervised training adds."""

    images: TrainingImages
    batch_size: int
    weight: float
    """Factor of the consistency loss at the top of its ramp."""


class Follower(Protocol):
    """What learns from each step of a training and leaves no trace in it: the detector keeps its bytes.

    It may draw from torch's global generators only where it puts them back.
    """

    def see(
        self, detector: DenseModel, weight: float, maps: list[Tensor], predictions: Predictions, targets: Targets
    ) -> None:
        """Take in what the detector, in training mode, makes of a part of the batch; `weight` is the part's share."""

    def step(self, factor: float) -> None:
        """Learn from the parts seen since the last step, at a factor of the peak learning rate: the detector's."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, for a checkpoint."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the follower that gave `state` was."""


def train_detector(
    detector: DetectorModel,
    labelled: TrainingImages,
    config: TrainingConfig,
    iterations: int,
    seed: int,
    step: str,
    unlabelled: Unlabelled | None = None,
    checkpoint: Checkpoint | None = None,
    follower: Follower | None = None,
) -> list[dict[str, float]]:
    """Train a detector in place, on its device: L = L_S + w(t) L_U, where w ramps up the consistency loss.

    The random numbers of the labelled part depend on `seed` alone, so that detectors trained with and without
    unlabelled images see the same labelled batches. With a checkpoint of the same training it goes on from there, to
    the same weights bit for bit. Several processes that call this alike train one detector, each with its share of
    every batch, and without unlabelled images; the first writes the checkpoint. A follower, of a dense detector in
    one process, is shown what the detector makes of each labelled batch, and changes nothing.

    Parameters
    ----------
    iterations
        Optimiser steps of the complete training, with those of the checkpoint.
    seed
        Seed of batches, augmentation and what the detector draws; it comes with its weights.
    step
        Name of the training in progress bars and messages, such as "variant 3".
    unlabelled
        Images of the consistency loss, for a dense detector.

    Returns
    -------
    A row an iteration: iteration, loss (supervised), consistency, learning_rate.

    Raises
    ------
    StepError
        On a loss that is not finite, naming the step, the iteration, the images and the loss.
    InputError
        On a damaged checkpoint, and where `training.compile` has no C++ compiler.
    """
    assert processes() == 1 or (unlabelled is None and follower is None)
    run = Run(detector, labelled, config, seed, step, unlabelled, follower)
    with _generators_of(detector.device, seed):
        if checkpoint and (state := checkpoint.load()):
            run.load_state_dict(state)
            log_rank0(f"{step}: resumed at iteration {run.done} of {iterations} from {checkpoint.path}")
        if not detector.exact and torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(True, warn_only=True)
        detector.train()
        if config.compile:
            _compile(detector)
        remaining = range(run.done, iterations)
        for iteration in remaining if rank() else tracked(remaining, step, iterations, done=run.done):
            run.step(iteration, iterations)
            if checkpoint and rank() == 0:
                checkpoint.save_if_due(run.state_dict)
    run.losses.read()
    if run.average:
        detector.load_state_dict(run.average.module.state_dict())
    detector.eval()
    return run.losses.history


@contextmanager
def _generators_of(device: torch.device, seed: int) -> Iterator[None]:
    """Seed torch's global generators, from which proposals, dropout and denoising are drawn, and put them back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed(seed, "global generator"))
        yield


def _compile(detector: DetectorModel) -> None:
    """Have torch compile the detector, which calls a compiler of the machine, also for a GPU."""
    if not any(map(shutil.which, COMPILERS)):
        raise InputError(
            f"training.compile wants a C++ compiler, and none of {', '.join(COMPILERS)} is on the PATH (nor in the "
            "container); install one, or set training.compile to false"
        )
    detector.pretrained.compile()


def learning_rate_factor(iteration: int, iterations: int, config: TrainingConfig) -> float:
    """Return the learning rate of an iteration, counted from 0, relative to its peak.

    It rises linearly in the warm-up. Then it falls by a half cosine to zero, or by steps, as configured.
    """
    warm_up = max(1, round(config.warm_up * iterations))
    if iteration < warm_up:
        return (iteration + 1) / warm_up
    if config.schedule == "steps":
        return float(STEP_FACTOR ** sum(iteration >= round(step * iterations) for step in config.steps))
    return 0.5 * (1 + math.cos(math.pi * (iteration - warm_up) / max(1, iterations - warm_up)))


def make_optimizer(detector: DetectorModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the configured optimiser of a detector's parameter groups."""
    groups, rate, decay = detector.parameter_groups(config), config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        # Where gradients overflow in its first step, torch's fused SGD begins with momentum that nothing wrote.
        fused = config.precision != "float16"
        return SGD(groups, rate, config.momentum, weight_decay=decay, fused=fused)
    return AdamW(groups, rate, weight_decay=decay, fused=True)


class Run:
    """All that changes from one iteration to the next, so that a checkpoint contains all of it.

    A step of a dense detector waits for no GPU, and no shape in it depends on numbers; what is excepted is in
    `docs/decisions/062-steps-on-a-gpu.md`.
    """

    def __init__(
        self,
        detector: DetectorModel,
        labelled: TrainingImages,
        config: TrainingConfig,
        seed: int,
        step: str,
        unlabelled: Unlabelled | None,
        follower: Follower | None,
    ) -> None:
        self.detector, self.config = detector, config
        self.follower = follower
        self.network = DistributedDataParallel(detector) if processes() > 1 else detector
        self.optimizer = make_optimizer(detector, config)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        device = detector.device
        precision = fast_precision(device) if config.precision == "auto" else config.precision
        self.precision = torch.autocast(device.type, PRECISIONS.get(precision), precision in PRECISIONS)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.labelled = self._feed(labelled, config.batch_size, seed, "labelled batches", "augmentation")
        self.unlabelled: Feed | None = None
        if unlabelled:
            names = "unlabelled batches", "unlabelled augmentation"
            self.unlabelled = self._feed(unlabelled.images, unlabelled.batch_size, seed, *names)
            self.weight = unlabelled.weight
        self.average = make_average(detector, config)
        self.image_ids = labelled.image_ids
        self.losses = Losses(step, device)

    def _feed(self, images: TrainingImages, batch_size: int, seed: int, *purposes: str) -> Feed:
        """Return the batches of images; `purposes` name the seeds of batches and of augmentation."""
        batches, changes = (derive_seed(seed, purpose) for purpose in purposes)
        parts, augmentation = self.config.accumulate, self.config.augmentation
        return Feed(images, batch_size, parts, augmentation, (batches, changes), self.detector.device)

    @property
    def done(self) -> int:
        """Iterations so far."""
        return len(self.losses.history)

    def step(self, iteration: int, iterations: int) -> None:
        """Do one of so many iterations: draw a batch, learn from it and move the weights."""
        factor = learning_rate_factor(iteration, iterations, self.config)
        self.start_step(factor)
        self.optimizer.zero_grad()
        unlabelled_parts = self.unlabelled.draw() if self.unlabelled else repeat(None)
        for part, unlabelled in zip(self.labelled.draw(), unlabelled_parts, strict=False):
            loss = part.weight * self.loss(part)
            losses = {"loss": mean_over_processes(loss.detach())}
            if unlabelled and len(unlabelled.chosen):
                consistency = (
                    unlabelled.weight * self.weight * ramp(iteration, iterations) * self.distance(unlabelled)
                )
                losses["consistency"] = consistency.detach()
                loss = loss + consistency
            self.losses.add(self.image_ids[part.chosen.numpy()], **losses)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.finish_step(factor)

    def loss(self, part: Part) -> Tensor:
        """Return the supervised loss of a part of a batch, a scalar on the device."""
        images, targets = self.labelled.show(place(part.drawn, self.detector.device))
        with self.precision, self.followed(part.weight):
            losses = self.network(images, targets)
        return torch.stack(list(losses.values())).sum()

    def distance(self, part: Part) -> Tensor:
        """Return the consistency loss of a part of a batch without labels, a scalar on the device."""
        assert self.unlabelled
        assert isinstance(self.detector, DenseModel)
        images, _ = self.unlabelled.show(place(part.drawn, self.detector.device))
        with self.precision:
            return consistency_loss(self.detector, images)

    def start_step(self, factor: float) -> None:
        """Begin a row of the history, and let each group of weights learn at a factor of its peak rate."""
        self.losses.begin(self.config.learning_rate * factor)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

    def finish_step(self, factor: float) -> None:
        """Move the weights along the gradients, and all that follows them."""
        self.scaler.unscale_(self.optimizer)
        if self.config.gradient_norm is not None:
            clip_grad_norm_(self.parameters, self.config.gradient_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.follower:
            self.follower.step(factor)
        if self.average:
            self.average.update_parameters(self.detector)

    @contextmanager
    def followed(self, weight: float) -> Iterator[None]:
        """Show the follower, if there is one, what the detector makes of a part of a batch."""
        if self.follower is None:
            yield
            return
        assert isinstance(self.detector, DenseModel)
        self.detector.watch = partial(self.follower.see, self.detector, weight)
        try:
            yield
        finally:
            self.detector.watch = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the run for a checkpoint; raises StepError if a loss is not finite."""
        self.losses.read()
        return {
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "labelled": self.labelled.state_dict(),
            "unlabelled": self.unlabelled.state_dict() if self.unlabelled else None,
            "follower": self.follower.state_dict() if self.follower else None,
            "history": self.losses.history,
            # What the detector draws from.
            "global_generator": torch.get_rng_state(),
            "gpu_generator": torch.cuda.get_rng_state() if self.detector.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the run that gave `state` was."""
        self.detector.load_state_dict(state["detector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.labelled.load_state_dict(state["labelled"])
        if self.unlabelled:
            self.unlabelled.load_state_dict(state["unlabelled"])
        if self.follower:
            self.follower.load_state_dict(state["follower"])
        self.losses.history = state["history"]
        torch.set_rng_state(state["global_generator"])
        if state["gpu_generator"] is not None:
            torch.cuda.set_rng_state(state["gpu_generator"])
