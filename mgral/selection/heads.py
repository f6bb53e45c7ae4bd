"""Heads that a strategy puts on the cycle's detector, and how they are trained: here alone, as the detector stays.

Published methods train such a head along with the detector. All strategies here share one detector, so that what is
compared is the choice: the head learns in `select`, from the labelled images, on feature maps that it cannot change.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from itertools import chain
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from mgral.artefacts.seeds import derive_seed
from mgral.compute.progress import tracked
from mgral.data.images import Images
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.selection.inference import dense_and_images
from mgral.selection.query import Query
from mgral.training.augmentation import Changes, show_changed
from mgral.training.batches import Sampler, TrainingImages, training_images

ITERATIONS = 300
BATCH_SIZE = 8
"""Labelled images of an iteration, or all where they are fewer. On small_ssd, 16 taught no head more."""
LEARNING_RATE = 1e-3
"""Learning rate of AdamW; it falls to zero by a half cosine."""

Head = TypeVar("Head", bound=nn.Module)


class Seen(NamedTuple):
    """What the frozen detector makes of a batch of labelled images; nothing of it has a gradient."""

    maps: list[Tensor]
    """See `DenseModel.maps`."""
    predictions: Predictions
    targets: Targets


class AnchorHead(nn.Module):
    """A convolution of 3 x 3 for each map, with outputs of their own for each anchor."""

    def __init__(self, maps: Sequence[Tensor], anchors_a_cell: Sequence[int], bias: Tensor) -> None:
        """Take some maps, which give the channels, and the first biases of an anchor's outputs, [O]."""
        super().__init__()
        self.outputs = len(bias)
        self.convolutions = nn.ModuleList()
        for one, anchors in zip(maps, anchors_a_cell, strict=True):
            convolution = nn.Conv2d(one.shape[1], anchors * self.outputs, 3, padding=1)
            convolution.bias = nn.Parameter(bias.detach().cpu().repeat(anchors))
            self.convolutions.append(convolution)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the outputs in the order of the detector's anchors, [B, A, O]."""
        found = [convolution(one) for convolution, one in zip(self.convolutions, maps, strict=True)]
        return torch.cat([one.permute(0, 2, 3, 1).reshape(len(one), -1, self.outputs) for one in found], dim=1)


def frozen_detector_and_images(query: Query) -> tuple[DenseModel, Images]:
    """Return a copy of the cycle's detector that takes no gradient, and the images."""
    detector, images = dense_and_images(query)
    return deepcopy(detector).requires_grad_(False), images


@torch.enable_grad()
def train_head(
    query: Query,
    detector: DenseModel,
    images: Images,
    name: str,
    build: Callable[[Seen], Head],
    loss: Callable[[Head, Seen], Tensor],
) -> tuple[Head, int]:
    """Train a head on a frozen detector with the labelled images, half of them mirrored at random.

    Parameters
    ----------
    name
        Of the strategy: each has random numbers of its own, the same again for a seed and a cycle.
    build
        Makes the head, with weights from torch's global generator; it is given the first batch.
    loss
        Of a batch, a scalar.

    Returns
    -------
    The head, on the detector's device, and the number of images shown to the detector.
    """
    labelled = training_images(query.dataset, images, query.labelled)
    batch_size = min(BATCH_SIZE, len(labelled.rows))
    batches = _batches(detector, labelled, batch_size, derive_seed(query.seed, f"{name} batches", query.cycle))
    first = next(batches)
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(query.seed, f"{name} head", query.cycle))
        head = build(first)
    head.to(detector.device)
    optimizer = AdamW(head.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
    for seen in tracked(chain([first], batches), f"{name} head", ITERATIONS):
        optimizer.zero_grad()
        loss(head, seen).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return head.eval(), ITERATIONS * batch_size


def _batches(detector: DenseModel, labelled: TrainingImages, batch_size: int, seed: int) -> Iterator[Seen]:
    """Yield as many batches as there are iterations."""
    sampler = Sampler(len(labelled.rows), batch_size, seed)
    generator = torch.Generator().manual_seed(derive_seed(seed, "mirrored"))
    device = detector.device
    for _ in range(ITERATIONS):
        chosen = sampler.draw()
        pixels, targets = labelled.batch(chosen)
        labelled.prefetch(sampler.peek())
        mirrored = torch.rand(len(chosen), generator=generator) < 0.5
        shown, targets = show_changed(
            pixels.to(device),
            Targets(*(values.to(device) for values in targets)),
            labelled.covered[chosen].to(device),
            labelled.images.canvas,
            Changes(mirrored.to(device), None, None),
        )
        maps = detector.maps(shown)
        yield Seen(maps, detector.predict(maps), targets)
