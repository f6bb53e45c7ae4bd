"""Strategy `cdal_by_class`: images whose classes are confused with other classes than in the labelled images.

The class that a region is confused with carries information on its surroundings. The strategy needs no anchors, so it
also works with detectors without them and with commands, unlike `cdal`.

Source
------
Agarwal, Arora, Anand, Arora, *Contextual Diversity for Active Learning*, ECCV 2020, the core-set variant (CDAL-CS) as
published for segmentation; the version for detection is `cdal`.

Formula
-------
Each class c of an image has a mixture: the mean of the distributions p of the regions predicted as that class,
weighted by their entropies H. The distance of two images is the symmetric KL of these mixtures, summed over the
classes that both have:

    P_c = sum H(p) p / sum H(p),  distance = sum over c of sum (P_c - Q_c) (log P_c - log Q_c) / 2

The image farthest from the nearest labelled or chosen one comes next. The regions of an image are the detections
(`objects_of_pool`), with background as one of the classes.

Differences
-----------
By the formula, images without a common class have distance 0. The paper's street scenes have common classes. But for
nearly every photograph with one or two objects there is a labelled image without a common class, so nearly all
nearest distances would be 0. Here pairs without a common class are ignored: the nearest image is sought among those
that share a class, and an image that shares none with any labelled or chosen image is farther than all others. Images
without detections come last.

The published code differs from the paper in two points: it begins each batch with a random image, and takes the mean
over the common classes, not the sum.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.config.registry import register
from mgral.models.suppression import Found
from mgral.selection.inference import objects_of
from mgral.selection.query import Choice, Query
from mgral.selection.strategies.core_set import farthest_first
from mgral.selection.strategies.entropy import entropy

SMALLEST = 1e-7
"""Smallest probability; smaller values are raised to it, so that divergences are finite."""

Mixtures = dict[int, npt.NDArray[np.float32]]
"""Class probabilities of an image's boxes, weighted by entropy, float32 [C + 1], by predicted class."""


class _OfClass(NamedTuple):
    """The images of the pool that have a class."""

    rows: npt.NDArray[np.int64]
    factors: npt.NDArray[np.float32]
    """The logarithms of their mixtures and the mixtures, [k, 2 (C + 1)]."""
    certainties: npt.NDArray[np.float32]
    """Sum of p log p of their mixtures, [k]."""

    @classmethod
    def of(cls, pool: list[Mixtures], label: int, rows: list[int]) -> "_OfClass":
        mixtures = np.stack([pool[row][label] for row in rows])
        logarithms = np.log(mixtures)
        certainties = np.einsum("ij,ij->i", mixtures, logarithms)
        return cls(np.array(rows), np.concatenate([logarithms, mixtures], axis=1), certainties)


@register(
    "cdal_by_class",
    "k-centre greedy on the mean class distribution of the boxes of each class",
    requires=("detections",),
)
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose farthest first; the labelled images are shown to the detector as well."""
    ids = np.concatenate([query.pool, query.labelled])
    mixtures = [class_mixtures(objects) for objects in objects_of(query, ids, "contextual diversity")]
    pool, labelled = mixtures[: len(query.pool)], mixtures[len(query.pool) :]
    choice = choose_diverse(pool, labelled, query.budget, len(query.dataset.categories))
    return replace(choice, forward_passes=len(ids))


def choose_diverse(pool: list[Mixtures], labelled: list[Mixtures], budget: int, classes: int) -> Choice:
    """Choose farthest first; scores are the distances in nats, or their bound where no class was shared."""
    distances = distances_from(pool)
    images = pool + labelled
    bound = -classes * math.log(SMALLEST)
    start = np.array([bound if mixtures else 0.0 for mixtures in pool])
    return farthest_first(start, lambda centre: distances(images[centre]), len(labelled), budget)


def class_mixtures(objects: Found) -> Mixtures:
    """Return the mixtures of the classes of an image, the paper's class-specific confusion (section 3.1)."""
    distributions = objects.distributions.double()
    weights = entropy(distributions).clamp_min(SMALLEST)
    return {
        label: _mixture(distributions, weights * (objects.labels == label))
        for label in sorted(set(objects.labels.tolist()))
    }


def _mixture(distributions: Tensor, weights: Tensor) -> npt.NDArray[np.float32]:
    mixture = (weights / weights.sum()) @ distributions
    return mixture.clamp_min(SMALLEST).float().numpy()


def distances_from(pool: list[Mixtures]) -> Callable[[Mixtures], npt.NDArray[np.float64]]:
    """Return a function that measures the contextual diversity of each image [n] of a pool and another image.

    That is the sum over common classes of the symmetric KL, in nats; infinite where there is none. The pool is kept
    class by class, and the divergence taken apart into p log p + q log q - (p log q + q log p), of which the last is
    a product with a matrix: at COCO's size that takes a gigabyte, and a call some hundredths of a second. It leaves
    millionths of rounding, where the same mixtures should be at distance 0.
    """
    rows_by_class: dict[int, list[int]] = {}
    for row, mixtures in enumerate(pool):
        for label in mixtures:
            rows_by_class.setdefault(label, []).append(row)
    by_class = {label: _OfClass.of(pool, label, rows) for label, rows in rows_by_class.items()}

    def distances(image: Mixtures) -> npt.NDArray[np.float64]:
        total, shared = np.zeros(len(pool)), np.zeros(len(pool), dtype=bool)
        for label in [label for label in image if label in by_class]:
            rows, factors, certainties = by_class[label]
            mixture, logarithms = image[label], np.log(image[label])
            cross_terms = factors @ np.concatenate([mixture, logarithms])
            total[rows] += 0.5 * (certainties + mixture @ logarithms - cross_terms).clip(min=0)
            shared[rows] = True
        return np.where(shared, total, np.inf)

    return distances
