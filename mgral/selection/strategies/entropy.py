"""Strategies `entropy*`: the images whose objects the detector is least sure of, by the entropy of their classes.

The four differ in how they aggregate entropies. Sums prefer images with many boxes.

Source
------
Brust, Kaeding, Denzler, *Active learning for deep object detection*, VISAPP 2019, compare the aggregations sum, mean
and maximum over boxes. `entropy_anchors` is our own: it needs no threshold, and does not prefer images with many
objects.

Formula
-------
The entropy of a class distribution p is

    H = - sum p log p,  in nats, with the background as one of the classes.

`entropy_anchors` is the mean of H over all anchors of an image, weighted by 1 - p(background), so it needs no
threshold. `entropy_sum`, `entropy_mean` and `entropy_max` are the sum, the mean and the maximum of H over the
detections (`objects_of_pool`).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mgral.config.registry import register
from mgral.selection.inference import dense_and_images, objects_of_pool, pool_chunks
from mgral.selection.query import Choice, Query


@register(
    "entropy_anchors", "unsure of the classes: mean entropy of the objects, without a threshold", requires=("dense",)
)
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the mean entropy of each image's anchors, in nats."""
    detector, images = dense_and_images(query)
    means = [
        mean_entropy(detector.class_probabilities(detector.predictions(inputs).logits).double())
        for _, inputs in pool_chunks(query, detector, images, "entropy")
    ]
    return Choice.best(torch.cat(means).cpu().numpy(), query.budget, len(query.pool))


@register("entropy_sum", "unsure of the classes: entropy, summed over the boxes found", requires=("detections",))
def choose_sum(query: Query) -> Choice:
    """Choose by the sum of the boxes' entropies, in nats."""
    return _choose_by_boxes(query, torch.sum)


@register("entropy_mean", "unsure of the classes: entropy, mean of the boxes found", requires=("detections",))
def choose_mean(query: Query) -> Choice:
    """Choose by the mean of the boxes' entropies, in nats; 0 without a box."""
    return _choose_by_boxes(query, torch.mean)


@register("entropy_max", "unsure of the classes: entropy of the box in most doubt", requires=("detections",))
def choose_max(query: Query) -> Choice:
    """Choose by the largest of the boxes' entropies, in nats; 0 without a box."""
    return _choose_by_boxes(query, torch.max)


def mean_entropy(probabilities: Tensor) -> Tensor:
    """Return the mean entropy of each image's anchors, [B], given distributions [B, A, C + 1].

    Each anchor counts with its probability of holding an object (class 0 is the background), so that the mean is
    over what the detector takes for objects, without a threshold, and no image is preferred for having many.
    """
    weight = 1 - probabilities[..., 0]
    return (weight * entropy(probabilities)).sum(1) / weight.sum(1).clamp_min(1e-12)


def entropy(distributions: Tensor) -> Tensor:
    """Return the entropy of distributions [..., C] in nats, [...]."""
    return -(distributions * distributions.clamp_min(1e-12).log()).sum(-1)


def _choose_by_boxes(query: Query, aggregate: Callable[[Tensor], Tensor]) -> Choice:
    entropies = (entropy(objects.distributions.double()) for objects in objects_of_pool(query, "entropy"))
    scores = torch.stack([aggregate(values) if len(values) else values.new_zeros(()) for values in entropies])
    return Choice.best(scores.numpy(), query.budget, len(query.pool))
