"""The training loop, the same for a cycle's detector, the base of a table and its variants."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from mgral.artefacts import derive_seed
from mgral.config import TrainingConfig
from mgral.detectors import Detector, Targets
from mgral.distributed import add_up, add_up_, processes, rank, say, share
from mgral.errors import StepError
from mgral.training.augmentation import augment, draw_changes
from mgral.training.batches import Sampler, TrainingImages
from mgral.training.checkpoint import Checkpoint
from mgral.training.consistency import consistency_loss, ramp
from mgral.training.parameters import flatten_parameters

WARM_UP = 0.05
"""Part of the schedule in which the learning rate rises."""
LARGEST_GRADIENT = 10.0
"""Norm at which gradients are clipped; short trainings reach a lower loss and a higher AP with it."""


@dataclass(frozen=True)
class Unlabelled:
    """What a semi-supervised training adds."""

    images: TrainingImages
    batch_size: int
    weight: float
    """Of the consistency loss at the top of its ramp."""


def train_detector(
    detector: Detector,
    labelled: TrainingImages,
    config: TrainingConfig,
    iterations: int,
    seed: int,
    step: str,
    unlabelled: Unlabelled | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[dict[str, float]]:
    """Train a detector in place, on its device: L = L_S + w(t) L_U (design, section 1.6).

    The random numbers of the labelled part depend on `seed` alone, so that detectors trained with and without
    unlabelled images see the same labelled batches. With a checkpoint of the same training it goes on from there, to
    the same weights bit for bit. Several processes that call this alike train one detector, each with its share of
    every batch, and without unlabelled images; the first writes the checkpoint.

    Returns
    -------
    A row an iteration: iteration, loss (supervised), consistency, learning_rate.

    Raises
    ------
    StepError
        On a loss that is not finite, naming the step, the iteration, the images and the loss.
    InputError
        On a damaged checkpoint.
    """
    assert processes() == 1 or unlabelled is None
    run = _Run(detector, len(labelled.rows), config, iterations, seed, unlabelled)
    if checkpoint and (state := checkpoint.load()):
        run.load_state_dict(state)
        say(f"{step}: resumed at iteration {run.done} of {iterations} from {checkpoint.path}")
    detector.train()
    left = range(run.done, iterations)
    hidden = True if rank() else None
    for iteration in tqdm(left, step, iterations, unit="it", disable=hidden, initial=run.done):
        chosen = run.sampler.draw()
        images, targets = _changed(labelled, chosen, config, run.generator, detector.device)
        supervised = detector.loss(detector(images), targets)
        consistency = torch.zeros((), device=detector.device)
        if run.other:
            weight = run.other.unlabelled.weight * ramp(iteration, iterations)
            consistency = weight * consistency_loss(detector, run.other.draw())
        of_labels, of_consistency = add_up(supervised.detach()).item(), consistency.item()
        if not math.isfinite(of_labels + of_consistency):
            ids = labelled.image_ids[chosen.numpy()].tolist()
            raise StepError(
                f"{step}: the loss is {of_labels + of_consistency} at iteration {iteration} (images {ids}); "
                "lower training.learning_rate, or look at the boxes of these images"
            )
        run.optimizer.zero_grad(set_to_none=False)
        (supervised + consistency).backward()  # type: ignore[no-untyped-call]
        add_up_(run.gradients)
        torch.nn.utils.clip_grad_norm_(run.parameters, LARGEST_GRADIENT)
        rate = run.schedule.get_last_lr()[0]
        run.optimizer.step()
        run.schedule.step()
        run.history.append(
            {
                "iteration": iteration,
                "loss": of_labels,
                "consistency": of_consistency,
                "learning_rate": float(rate),
            }
        )
        if checkpoint and rank() == 0:
            checkpoint.save_if_due(run.state_dict)
    detector.eval()
    return run.history


def learning_rate_factor(iteration: int, iterations: int) -> float:
    """Linear warm-up over the first twentieth, then a half cosine down to zero."""
    warm_up = max(1, round(WARM_UP * iterations))
    if iteration < warm_up:
        return (iteration + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (iteration - warm_up) / max(1, iterations - warm_up)))


def _changed(
    images: TrainingImages, chosen: Tensor, config: TrainingConfig, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Targets]:
    """Return this process' share of the chosen images, changed at random, and their boxes, on the device.

    The random numbers are those of the whole batch, and drawn on the CPU: the same on every device, for any share.
    """
    changes = draw_changes(len(chosen), config.augmentation, generator)
    pixels, targets = images.batch(share(chosen))
    on_device = Targets(*(part.to(device) for part in targets))
    return augment(pixels.to(device), on_device, changes.map(lambda part: share(part).to(device)))


class _Run:
    """All that changes from one iteration to the next, so that a checkpoint holds it whole."""

    def __init__(
        self,
        detector: Detector,
        labelled: int,
        config: TrainingConfig,
        iterations: int,
        seed: int,
        unlabelled: Unlabelled | None,
    ) -> None:
        self.detector = detector
        self.parameters = flatten_parameters(detector)
        assert self.parameters.grad is not None
        self.gradients = self.parameters.grad
        self.optimizer = torch.optim.AdamW(
            [self.parameters], lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda t: learning_rate_factor(t, iterations)
        )
        self.sampler = Sampler(labelled, config.batch_size, derive_seed(seed, "labelled batches"))
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
        self.other = _UnlabelledBatches(unlabelled, config, seed, detector.device) if unlabelled else None
        self.history: list[dict[str, float]] = []

    @property
    def done(self) -> int:
        return len(self.history)

    def state_dict(self) -> dict[str, Any]:
        return {
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "sampler": self.sampler.state_dict(),
            "generator": self.generator.get_state(),
            "other": self.other.state_dict() if self.other else None,
            "history": self.history,
            # What a detector with dropout draws from.
            "global_generator": torch.get_rng_state(),
            "gpu_generator": torch.cuda.get_rng_state() if self.detector.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.detector.load_state_dict(state["detector"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.sampler.load_state_dict(state["sampler"])
        self.generator.set_state(state["generator"])
        if self.other:
            self.other.load_state_dict(state["other"])
        self.history = state["history"]
        torch.set_rng_state(state["global_generator"])
        if state["gpu_generator"] is not None:
            torch.cuda.set_rng_state(state["gpu_generator"])


class _UnlabelledBatches:
    def __init__(self, unlabelled: Unlabelled, config: TrainingConfig, seed: int, device: torch.device) -> None:
        self.unlabelled = unlabelled
        self._config, self._device = config, device
        self._sampler = Sampler(
            len(unlabelled.images.rows), unlabelled.batch_size, derive_seed(seed, "unlabelled batches")
        )
        self._generator = torch.Generator().manual_seed(derive_seed(seed, "unlabelled augmentation"))

    def draw(self) -> Tensor:
        return _changed(self.unlabelled.images, self._sampler.draw(), self._config, self._generator, self._device)[0]

    def state_dict(self) -> dict[str, Any]:
        return {"sampler": self._sampler.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sampler.load_state_dict(state["sampler"])
        self._generator.set_state(state["generator"])
