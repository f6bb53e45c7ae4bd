"""The consistency loss between an image and its mirror image, for training without labels.

CSD: Jeong, Lee, Kim, Kwak, *Consistency-based Semi-supervised Learning for Object Detection*, NeurIPS 2019.
"""

import math

import torch
from torch import Tensor

from mgral.models.interface import DenseModel, Predictions, full_precision

RAMP_UP_END, RAMP_DOWN_START = 32 / 120, 100 / 120
"""Parts of the schedule after which the weight is full, and after which it falls (of CSD's 120k iterations)."""


def ramp(iteration: int, iterations: int) -> float:
    """Return w(t) in 0..1: up as exp(-5 (1 - t/t1)^2), then 1, then down as exp(-12.5 (1 - (T-t)/t2)^2)."""
    progress = iteration / iterations
    if progress < RAMP_UP_END:
        return math.exp(-5 * (1 - progress / RAMP_UP_END) ** 2)
    if progress > RAMP_DOWN_START:
        return math.exp(-12.5 * (1 - (1 - progress) / (1 - RAMP_DOWN_START)) ** 2)
    return 1.0


def consistency_loss(detector: DenseModel, images: Tensor) -> Tensor:
    """Return how far a detector's predictions differ between images [B, 3, H, W] and their mirror images."""
    predictions = full_precision(detector.predictions(torch.cat([images, images.flip(3)])))
    plain = Predictions(*(part[: len(images)] for part in predictions))
    mirrored = detector.mirror(Predictions(*(part[len(images) :] for part in predictions)))
    return prediction_distance(detector, plain, mirrored)


def prediction_distance(detector: DenseModel, plain: Predictions, mirrored: Predictions) -> Tensor:
    """Symmetric KL of the class distributions plus squared difference of the offsets, a mean over anchors.

    Only anchors that `plain` does not take for background count (CSD's background elimination, section 3.3);
    zero where there is none.
    """
    anchors = found_anchors(detector, plain)
    if not anchors.any():
        return plain.logits.sum() * 0
    divergence = class_distance(detector, plain.logits[anchors], mirrored.logits[anchors]).mean()
    return divergence + (plain.offsets[anchors] - mirrored.offsets[anchors]).square().mean()


def found_anchors(detector: DenseModel, predictions: Predictions) -> Tensor:
    """Return for each anchor whether it is not taken for background, bool [B, A]."""
    return detector.class_probabilities(predictions.logits.detach()).argmax(-1) > 0


def class_distance(detector: DenseModel, plain: Tensor, mirrored: Tensor) -> Tensor:
    """Return the symmetric KL, in nats, of the distributions that two logits [n, L] of each anchor stand for, [n].

    It is given the found anchors only, as all distributions of a large image take gigabytes.
    """
    p, q = (detector.class_probabilities(logits).clamp_min(1e-7) for logits in (plain, mirrored))
    return 0.5 * ((p - q) * (p.log() - q.log())).sum(-1)
