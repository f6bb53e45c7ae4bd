"""How unlike two images are, by the objects found in them (PPAL's category-conditioned matching similarity).

Yang, Huang, Crowley, CVPR 2024: each box of one image is matched to the box of its class in the other that is
nearest by the cosine distance of their features; the distance from image to image is the mean of these, weighted by
the boxes' scores; and the mean of both directions makes it symmetric. A box whose class the other image does not have
is at distance 2.

The published code differs in two ways that look like oversights. The n-th boxes of two images are at distance 0
where they are of one class, whatever their features; and an image without boxes is at distance 0 from any other,
here at 2, as there is nothing to match.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

UNMATCHED = 2.0
"""Distance of a box to an image without its class, the largest that the cosine distance knows."""
COSINES = 1 << 22
"""Cosines held at a time, 16 MB."""


class Boxes(NamedTuple):
    """Boxes whose features can be compared, image by image."""

    images: Tensor
    """int64 [n], ascending."""
    labels: Tensor
    """int64 [n]."""
    scores: Tensor
    """float32 [n], positive."""
    features: Tensor
    """float32 [n, F], of length 1, without negative values, so that no cosine is negative."""


def image_distances(scores: Tensor, spaces: Sequence[Boxes]) -> Tensor:
    """Return how unlike images are.

    All boxes of a class are compared with each other in matrix products, so that n boxes of a class with F features
    cost 2 n^2 F operations and n^2 comparisons: for PPAL on COCO, 9,380 images with at most 100 boxes each, 4e14
    operations at the very most, were they all of one class. Memory goes to the features and thrice to the result.

    Parameters
    ----------
    scores
        float32 [N, C], the sum of the scores of each image's boxes of each class.
    spaces
        The boxes, once, by what their features can be compared with: features of different spaces have nothing in
        common, as if they were at right angles, at a cosine distance of 1.

    Returns
    -------
    float32 [N, N] in 0..2, symmetric, 0 on the diagonal.
    """
    # The distances are counted down from 2: by 1 for a box whose class is there at all, and by its best cosine.
    closeness = scores @ (scores > 0).to(scores.dtype).t()
    for boxes in spaces:
        for label in boxes.labels.bincount().nonzero().flatten().tolist():
            of_class = boxes.labels == label
            _add_best_cosines(closeness, boxes.images[of_class], boxes.scores[of_class], boxes.features[of_class])
    closeness /= scores.sum(1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)
    distances = (UNMATCHED - (closeness + closeness.t()) / 2).clamp_(0, UNMATCHED)
    return distances.fill_diagonal_(0)


def _add_best_cosines(closeness: Tensor, images: Tensor, scores: Tensor, features: Tensor) -> None:
    """Add for every pair of images the score times the best cosine of each box of the one with a box of the other.

    Images have different numbers of boxes. Sorted by them, the first boxes of all images, then the second boxes of
    those that have two, and so on, lie one after the other: layers, in which an image is at the same place in all. So
    maxima and sums over an image's boxes are those of complete layers, without padding and always in the same order.
    """
    counts = images.bincount()
    present = counts.nonzero().flatten()
    counts = counts[present]
    first_boxes = counts.cumsum(0) - counts
    order = counts.argsort(descending=True, stable=True)
    layers = [first_boxes[order[: int((counts > rank).sum())]] + rank for rank in range(int(counts.max()))]
    sizes = [len(layer) for layer in layers]
    columns = features[torch.cat(layers)].t()
    added = closeness.new_zeros(len(present), len(present))
    step = max(1, COSINES // len(images))
    for layer in layers:
        for start in range(0, len(layer), step):
            part = layer[start : start + step]
            best_cosines, *other_cosines = torch.split(features[part] @ columns, sizes, dim=1)
            for cosines in other_cosines:
                best_cosines[:, : cosines.shape[1]] = torch.maximum(best_cosines[:, : cosines.shape[1]], cosines)
            added[start : start + len(part)] += scores[part, None] * best_cosines
    sorted_images = present[order]
    closeness[sorted_images[:, None], sorted_images] += added
