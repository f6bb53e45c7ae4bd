"""Entropy sampling: label the images whose objects the detector is least sure of."""

import numpy as np
import numpy.typing as npt
import torch

from mgral.detectors import Detector
from mgral.evaluation import image_chunks


@torch.no_grad()
def entropy_scores(
    detector: Detector, pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the mean class entropy of each image's anchors, in nats, float64 [n].

    Each anchor counts with its probability of holding an object, so that the mean is over what the detector takes
    for objects, without a threshold; images with many objects are not preferred for their number.
    """
    scores = []
    for _, images in image_chunks(pixels, rows, "entropy"):
        probabilities = detector.class_probabilities(detector(images).logits).double()
        entropy = -(probabilities * probabilities.clamp_min(1e-12).log()).sum(-1)
        weight = 1 - probabilities[..., 0]
        scores.append(((weight * entropy).sum(1) / weight.sum(1).clamp_min(1e-12)).numpy())
    return np.concatenate(scores) if scores else np.zeros(0)
