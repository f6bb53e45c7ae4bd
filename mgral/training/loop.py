"""The training loop, the same for a cycle's detector, the base of a table and its variants."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD, AdamW
from torch.optim.swa_utils import AveragedModel

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import fast_precision
from mgral.compute.distributed import log_rank0, mean_over_processes, processes, rank, shard
from mgral.compute.progress import tracked
from mgral.config import TrainingConfig
from mgral.errors import InputError, StepError
from mgral.models.interface import DenseModel, DetectorModel, Predictions, Targets
from mgral.training.augmentation import Changes, draw_changes, show_changed
from mgral.training.batches import Sampler, TrainingImages
from mgral.training.checkpoint import Checkpoint
from mgral.training.consistency import consistency_loss, ramp
from mgral.training.crops import in_sides

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
    run = _Run(detector, labelled, config, seed, unlabelled, follower)
    if checkpoint and (state := checkpoint.load()):
        run.load_state_dict(state)
        log_rank0(f"{step}: resumed at iteration {run.done} of {iterations} from {checkpoint.path}")
    if not detector.exact and torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(True, warn_only=True)
    detector.train()
    if config.compile:
        _compile(detector)
    left = range(run.done, iterations)
    for iteration in left if rank() else tracked(left, step, iterations, done=run.done):
        factor = learning_rate_factor(iteration, iterations, config)
        run.start_step(factor)
        of_labels = of_consistency = 0.0
        others = run.unlabelled.draw() if run.unlabelled else repeat(None)
        for part, other in zip(run.labelled.draw(), others, strict=False):
            with run.precision, run.followed(part.weight):
                losses = run.network(part.images, part.targets)
            loss = part.weight * torch.stack(list(losses.values())).sum()
            of_labels += mean_over_processes(loss.detach()).item()
            if unlabelled and other and len(other.images):
                assert isinstance(detector, DenseModel)
                with run.precision:
                    distance = consistency_loss(detector, other.images)
                consistency = other.weight * unlabelled.weight * ramp(iteration, iterations) * distance
                of_consistency += consistency.item()
                loss = loss + consistency
            if not math.isfinite(of_labels + of_consistency):
                ids = labelled.image_ids[part.chosen.numpy()].tolist()
                raise StepError(
                    f"{step}: the loss is {of_labels + of_consistency} at iteration {iteration} (images {ids}); "
                    "lower training.learning_rate, or look at the boxes of these images"
                )
            run.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        run.scaler.unscale_(run.optimizer)
        if config.gradient_norm is not None:
            clip_grad_norm_(run.parameters, config.gradient_norm, foreach=True)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        if follower:
            follower.step(factor)
        if run.average:
            run.average.update_parameters(detector)
        run.history.append(
            {
                "iteration": iteration,
                "loss": of_labels,
                "consistency": of_consistency,
                "learning_rate": config.learning_rate * factor,
            }
        )
        if checkpoint and rank() == 0:
            checkpoint.save_if_due(run.state_dict)
    if run.average:
        detector.load_state_dict(run.average.module.state_dict())
    detector.eval()
    return run.history


def _compile(detector: DetectorModel) -> None:
    """Have torch compile the detector, which calls a compiler of the machine, also for a GPU."""
    if not any(map(shutil.which, COMPILERS)):
        raise InputError(
            f"training.compile wants a C++ compiler, and none of {', '.join(COMPILERS)} is on the PATH (nor in the "
            "container); install one, or set training.compile to false"
        )
    detector.pretrained.compile()


def learning_rate_factor(iteration: int, iterations: int, config: TrainingConfig) -> float:
    """Rise linearly in the warm-up; then fall by a half cosine down to zero, or by steps, as configured."""
    warm_up = max(1, round(config.warm_up * iterations))
    if iteration < warm_up:
        return (iteration + 1) / warm_up
    if config.schedule == "steps":
        return float(STEP_FACTOR ** sum(iteration >= round(step * iterations) for step in config.steps))
    return 0.5 * (1 + math.cos(math.pi * (iteration - warm_up) / max(1, iterations - warm_up)))


def make_average(model: nn.Module, config: TrainingConfig) -> AveragedModel | None:
    """Return the moving average of a model's weights, and of its other tensors, if the configuration asks for one.

    Tarvainen, Valpola, *Mean teachers are better role models*, NeurIPS 2017, section 3; its start is that of timm's
    `ModelEmaV3`.
    """
    if not config.moving_average:
        return None

    def average(before: Tensor, now: Tensor, done: Tensor | int) -> Tensor:
        decay = min(config.moving_average, (1 + int(done)) / (10 + int(done)))
        return before.lerp(now, 1 - decay) if before.is_floating_point() else now

    return AveragedModel(model, avg_fn=average, use_buffers=True)


def make_optimizer(detector: DetectorModel, config: TrainingConfig) -> torch.optim.Optimizer:
    """Return the configured optimiser of a detector's parameter groups."""
    groups, rate, decay = detector.parameter_groups(config), config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        # Where gradients overflow in its first step, torch's fused SGD begins with momentum that nothing wrote.
        fused = config.precision != "float16"
        return SGD(groups, rate, config.momentum, weight_decay=decay, fused=fused)
    return AdamW(groups, rate, weight_decay=decay, fused=True)


class _Run:
    """All that changes from one iteration to the next, so that a checkpoint holds it whole."""

    def __init__(
        self,
        detector: DetectorModel,
        labelled: TrainingImages,
        config: TrainingConfig,
        seed: int,
        unlabelled: Unlabelled | None,
        follower: Follower | None,
    ) -> None:
        self.detector = detector
        self.follower = follower
        self.network = DistributedDataParallel(detector) if processes() > 1 else detector
        self.optimizer = make_optimizer(detector, config)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        device = detector.device
        precision = fast_precision(device) if config.precision == "auto" else config.precision
        self.precision = torch.autocast(device.type, PRECISIONS.get(precision), precision in PRECISIONS)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        seeds = derive_seed(seed, "labelled batches"), derive_seed(seed, "augmentation")
        self.labelled = _Batches(labelled, config.batch_size, config, *seeds, device)
        self.unlabelled: _Batches | None = None
        if unlabelled:
            seeds = derive_seed(seed, "unlabelled batches"), derive_seed(seed, "unlabelled augmentation")
            self.unlabelled = _Batches(unlabelled.images, unlabelled.batch_size, config, *seeds, device)
        self.average = make_average(detector, config)
        self.history: list[dict[str, float]] = []

    @property
    def done(self) -> int:
        return len(self.history)

    def start_step(self, factor: float) -> None:
        """Clear the gradients, and let each group learn at a factor of its peak rate."""
        self.optimizer.zero_grad()
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor

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
        return {
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "labelled": self.labelled.state_dict(),
            "unlabelled": self.unlabelled.state_dict() if self.unlabelled else None,
            "follower": self.follower.state_dict() if self.follower else None,
            "history": self.history,
            # What a detector with dropout draws from.
            "global_generator": torch.get_rng_state(),
            "gpu_generator": torch.cuda.get_rng_state() if self.detector.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
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
        self.history = state["history"]
        torch.set_rng_state(state["global_generator"])
        if state["gpu_generator"] is not None:
            torch.cuda.set_rng_state(state["gpu_generator"])


class _Part(NamedTuple):
    """What of a batch goes through the detector at once."""

    weight: float
    """This process' part of the batch, 0 to 1."""
    chosen: Tensor
    """int64 [n]: which images they are; in several processes, those of all."""
    images: Tensor
    targets: Targets
    """Boxes and classes of this process' images, on the device."""


class _Batches:
    """Batches of some images, changed at random, by random numbers of their own.

    These are those of the whole batch, and drawn on the CPU: the same on every device, and for any share of it.
    """

    def __init__(
        self,
        images: TrainingImages,
        batch_size: int,
        config: TrainingConfig,
        sampler_seed: int,
        augmentation_seed: int,
        device: torch.device,
    ) -> None:
        self._images, self._config, self._device = images, config, device
        self._sampler = Sampler(len(images.rows), batch_size, sampler_seed)
        self._generator = torch.Generator().manual_seed(augmentation_seed)

    def draw(self) -> Iterator[_Part]:
        """Yield the parts of the next batch."""
        chosen = self._sampler.draw()
        boxes = in_sides(self._images.boxes(chosen), self._images.covered[chosen])
        changes = draw_changes(boxes, self._config.augmentation, self._generator)
        parts = torch.arange(len(chosen)).tensor_split(self._config.accumulate)
        for number, part in enumerate(parts, start=1):
            shown = self._show(chosen, shard(part), changes)
            if number == len(parts):
                following = self._sampler.peek()
                self._images.prefetch(following[torch.cat([shard(part) for part in parts])])
            yield _Part(len(part) / len(chosen), chosen[part], *shown)

    def _show(self, chosen: Tensor, mine: Tensor, changes: Changes) -> tuple[Tensor, Targets]:
        """Return the images of a batch at the places `mine`, changed, and their boxes, on the device."""
        pixels, targets = self._images.batch(chosen[mine])
        return show_changed(
            pixels.to(self._device),
            Targets(*(values.to(self._device) for values in targets)),
            self._images.covered[chosen[mine]].to(self._device),
            self._images.images.canvas,
            changes.map(lambda values: values[mine].to(self._device)),
        )

    def state_dict(self) -> dict[str, Any]:
        return {"sampler": self._sampler.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sampler.load_state_dict(state["sampler"])
        self._generator.set_state(state["generator"])
