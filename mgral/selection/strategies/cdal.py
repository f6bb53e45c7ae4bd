"""Strategy `cdal`: images whose anchors have class distributions unlike those of the labelled images.

Source
------
Agarwal, Arora, Anand, Arora, *Contextual Diversity for Active Learning*, ECCV 2020, the core-set variant (CDAL-CS) by
the measure that they publish for detection.

Formula
-------
Each image has one mixture: the mean of the class distributions p of all its anchors, without the background, weighted
by their entropies H. The distance of two images is the symmetric KL of their mixtures:

    P = sum H(p) p / sum H(p),  distance = sum (P - Q) (log P - log Q) / 2

The image farthest from the nearest labelled or chosen one comes next. Most anchors show background; their
distribution is that over the classes given an object, as published.

Differences
-----------
The paper has a mixture for each class, which its code does only for segmentation (`cdal_by_class`). The published
code begins each batch with a random image; here the first image is the farthest one too. With a single class all
distributions are equal, and the choice is random.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.config.registry import register
from mgral.evaluation.detect import image_chunks
from mgral.selection.inference import dense_and_images
from mgral.selection.query import Choice, Query
from mgral.selection.strategies.core_set import farthest_first
from mgral.selection.strategies.entropy import entropy

SMALLEST = 1e-7
"""Smallest weight and probability; smaller values are raised to it, so that means and divergences are finite."""


@register("cdal", "k-centre greedy on the mean class distribution of all anchors", requires=("dense",))
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose farthest first; the labelled images are shown to the detector as well."""
    detector, images = dense_and_images(query)
    ids = np.concatenate([query.pool, query.labelled])
    classes = len(query.dataset.categories)
    if classes == 1:  # all are the same but for rounding
        return Choice(np.arange(query.budget), np.zeros(query.budget), undecided=True)
    mixtures = [
        mixture(detector.predictions(inputs).logits[..., -classes:]).cpu()
        for _, inputs in image_chunks(images, query.dataset.rows(ids), "contextual diversity", detector.device)
    ]
    choice = choose_diverse(torch.cat(mixtures).numpy(), len(query.pool), query.budget)
    return replace(choice, forward_passes=len(ids))


def mixture(logits: Tensor) -> Tensor:
    """Return the mean distribution of images' anchors, weighted by entropies, float64 [B, C].

    It is given the logits of the classes [B, A, C], whose softmax is the distribution if there is no background.
    """
    distributions = logits.double().softmax(-1)
    weights = entropy(distributions).clamp_min(SMALLEST)
    sums = (weights[:, None] @ distributions)[:, 0]
    return (sums / weights.sum(1, keepdim=True)).clamp_min(SMALLEST)


def choose_diverse(mixtures: npt.NDArray[np.float64], pool: int, budget: int) -> Choice:
    """Choose farthest first from the mixtures of a pool and, behind them, the labelled images; scores are in nats."""
    logarithms = np.log(mixtures)

    def distances(centre: int) -> npt.NDArray[np.float64]:
        differences, ratios = mixtures[:pool] - mixtures[centre], logarithms[:pool] - logarithms[centre]
        divergences: npt.NDArray[np.float64] = 0.5 * np.einsum("ij,ij->i", differences, ratios)
        return divergences

    return farthest_first(np.full(pool, np.inf), distances, len(mixtures) - pool, budget)
