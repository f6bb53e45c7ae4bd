"""Strategy `head_discrepancy`: the images on which two classifiers with different initial weights disagree most.

Source
------
The instance uncertainty (section 3.2) of MI-AOD: Yuan et al., *Multiple instance active object detection*, CVPR 2021.

Formula
-------
For an anchor with the class probabilities p and q of the two heads, the mean over the C classes, without the
background, is

    d = sum (p - q)^2 / C

The score of an image is the mean of its 10,000 largest d.

Differences
-----------
This is only a part of MI-AOD. Its adversarial training of heads and backbone on unlabelled images is left out, and so
is its loss that weights instances by multiple instance learning. Without these, the heads may rank images mostly by
their number of objects. The heads are trained together with the detector, without a gradient into it (see `heads`),
each with the detector's class loss. They start at its mean logits; otherwise a short training would mostly learn that
nearly all anchors are background.

The published code compares sigmoids of the outputs; here class probabilities are compared (`class_probabilities`). It
takes the mean over all outputs, of which RetinaNet's have no background and SSD's have one. Here the background never
counts.
"""

import torch
from torch import Tensor

from mgral.config.registry import register, register_head
from mgral.models.interface import DenseModel
from mgral.selection.heads import AnchorHead, Seen, with_head
from mgral.selection.inference import pool_chunks
from mgral.selection.query import Choice, Query

TOP_ANCHORS = 10_000
"""Anchors of an image whose discrepancy is averaged; the paper's k."""


@register("head_discrepancy", "discrepancy of two class heads", requires=("dense", "head"))
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the discrepancy of two heads."""
    detector, images, heads = with_head(query)
    scores = []
    for _, inputs in pool_chunks(query, detector, images, "head_discrepancy"):
        for logits in heads(detector.class_maps(detector.maps(inputs))):
            scores.append(discrepancy(*map(detector.class_probabilities, logits.chunk(2, dim=-1))))
    return Choice.best(torch.stack(scores).cpu().numpy(), query.budget, len(query.pool))


def build(detector: DenseModel, seen: Seen) -> AnchorHead:
    """Return both heads, untrained: in one convolution, each with filters of its own."""
    mean = seen.predictions.logits.mean((0, 1))
    return AnchorHead(detector.class_maps(seen.maps), detector.anchors_a_cell, mean.repeat(2))


def loss(heads: AnchorHead, detector: DenseModel, seen: Seen) -> Tensor:
    """Return the sum of both heads' losses of a batch, a scalar."""
    logits_by_head = heads(detector.class_maps(seen.maps)).chunk(2, dim=-1)
    # Both have the boxes of the detector, which have no gradient: what is learnt from is the loss of classes.
    losses = [detector.loss(seen.predictions._replace(logits=logits), seen.targets) for logits in logits_by_head]
    return torch.stack(losses).sum()


register_head("head_discrepancy", build, loss)


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Return how far two heads' distributions of an image's anchors [A, C + 1] are apart, a scalar.

    The mean over the classes, less the background, of the squared difference; and the mean of that over the anchors
    where it is largest.
    """
    distances = (first[:, 1:] - second[:, 1:]).square().mean(1)
    return distances.topk(min(TOP_ANCHORS, len(distances))).values.mean()
