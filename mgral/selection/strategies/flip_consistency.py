"""Strategy `flip_consistency`: the images whose class predictions change most when the image is mirrored.

Source
------
The consistency of CSD (Jeong, Lee, Kim, Kwak, *Consistency-based Semi-supervised Learning for Object Detection*,
NeurIPS 2019), which uses it for training; Elezi, Yu, Anandkumar, Leal-Taixé, Alvarez use it for selection: *Not All
Labels Are Equal: Rationalizing the Labeling Costs for Training Object Detection*, CVPR 2022.

Formula
-------
As in CSD: the mean, over the anchors that are not classified as background, of the symmetric KL between the class
distributions p of the image and q of its mirror image:

    KL = sum (p - q) (log p - log q) / 2

Differences
-----------
Elezi et al. take the maximum over the boxes after non-maximum suppression (`al_ssl`), and train their detector for
consistency. Here the detector is the one that all strategies share, without that training.
"""

import torch
from torch import Tensor

from mgral.config.registry import register
from mgral.models.interface import DenseModel, Predictions
from mgral.selection.inference import dense_and_images, pool_chunks
from mgral.selection.query import Choice, Query
from mgral.training.consistency import class_distance, found_anchors


@register(
    "flip_consistency", "class distributions that change as the image is mirrored", requires=("dense",), views=2
)
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the largest inconsistency; each image is shown twice."""
    detector, images = dense_and_images(query)
    scores = []
    for _, inputs in pool_chunks(query, detector, images, "flip consistency"):
        plain, mirrored = detector.predictions(inputs), detector.predictions(inputs.flip(3))
        scores.append(inconsistency(detector, plain, detector.mirror(mirrored)))
    return Choice.best(torch.cat(scores).cpu().numpy(), query.budget, 2 * len(query.pool))


def inconsistency(detector: DenseModel, plain: Predictions, mirrored: Predictions) -> Tensor:
    """Return the mean symmetric KL of each image's found anchors, in nats, [B]; 0 without such an anchor.

    Parameters
    ----------
    plain
        What the detector says of the images, which decides which anchors count.
    mirrored
        What it says of their mirror images, turned back.
    """
    counted = found_anchors(detector, plain)
    means = [
        class_distance(detector, plain_logits[anchors], mirrored_logits[anchors]).mean()
        if anchors.any()
        else plain_logits.new_zeros(())
        for plain_logits, mirrored_logits, anchors in zip(plain.logits, mirrored.logits, counted, strict=True)
    ]
    return torch.stack(means)
