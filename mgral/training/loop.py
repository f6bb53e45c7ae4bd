"""The training loop, the same for a cycle's detector, the base of a table and its variants."""

import math
from dataclasses import dataclass

import torch
from tqdm import tqdm

from mgral.artefacts import derive_seed
from mgral.config import TrainingConfig
from mgral.detectors import Detector
from mgral.errors import StepError
from mgral.training.augmentation import augment
from mgral.training.batches import Sampler, TrainingImages
from mgral.training.consistency import consistency_loss, ramp

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
) -> list[dict[str, float]]:
    """Train a detector in place: L = L_S + w(t) L_U (design, section 1.6).

    The random numbers of the labelled part depend on `seed` alone, so that detectors trained with and without
    unlabelled images see the same labelled batches.

    Returns
    -------
    A row an iteration: iteration, loss (supervised), consistency, learning_rate.

    Raises
    ------
    StepError
        On a loss that is not finite, naming the step, the iteration, the images and the loss.
    """
    optimizer = torch.optim.AdamW(
        detector.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: learning_rate_factor(t, iterations))
    sampler = Sampler(len(labelled.rows), config.batch_size, derive_seed(seed, "labelled batches"))
    generator = torch.Generator().manual_seed(derive_seed(seed, "augmentation"))
    other = _UnlabelledBatches(unlabelled, config, seed) if unlabelled else None
    history: list[dict[str, float]] = []
    detector.train()
    for iteration in tqdm(range(iterations), desc=step, unit="it", disable=None):
        chosen = sampler.draw()
        images, targets = augment(*labelled.batch(chosen), config.augmentation, generator)
        supervised = detector.loss(detector(images), targets)
        consistency = torch.zeros(())
        if other:
            weight = other.unlabelled.weight * ramp(iteration, iterations)
            consistency = weight * consistency_loss(detector, other.draw())
        loss = supervised + consistency
        if not math.isfinite(loss.item()):
            ids = labelled.image_ids[chosen.numpy()].tolist()
            raise StepError(
                f"{step}: the loss is {loss.item()} at iteration {iteration} (images {ids}); "
                "lower training.learning_rate, or look at the boxes of these images"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(detector.parameters(), LARGEST_GRADIENT)
        rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        history.append(
            {
                "iteration": iteration,
                "loss": supervised.item(),
                "consistency": consistency.item(),
                "learning_rate": float(rate),
            }
        )
    detector.eval()
    return history


def learning_rate_factor(iteration: int, iterations: int) -> float:
    """Linear warm-up over the first twentieth, then a half cosine down to zero."""
    warm_up = max(1, round(WARM_UP * iterations))
    if iteration < warm_up:
        return (iteration + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (iteration - warm_up) / max(1, iterations - warm_up)))


class _UnlabelledBatches:
    def __init__(self, unlabelled: Unlabelled, config: TrainingConfig, seed: int) -> None:
        self.unlabelled = unlabelled
        self._config = config
        self._sampler = Sampler(
            len(unlabelled.images.rows), unlabelled.batch_size, derive_seed(seed, "unlabelled batches")
        )
        self._generator = torch.Generator().manual_seed(derive_seed(seed, "unlabelled augmentation"))

    def draw(self) -> torch.Tensor:
        images, targets = self.unlabelled.images.batch(self._sampler.draw())
        return augment(images, targets, self._config.augmentation, self._generator)[0]
