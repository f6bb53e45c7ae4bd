"""Strategy `entropy`: the images whose objects the detector is least sure of."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.data.canvas import canvas_of
from mgral.data.images import load_images
from mgral.detectors import load_detector
from mgral.device import choose_device
from mgral.evaluation import image_chunks
from mgral.strategies import Query


@torch.no_grad()
def scores(query: Query) -> npt.NDArray[np.float64]:
    """Return the mean class entropy of each image's objects, float64 [n], in nats."""
    assert query.images is not None
    assert query.detector is not None
    device = choose_device(query.gpus)
    detector = load_detector(query.detector, query.detector_config, len(query.dataset.categories)).to(device)
    images = load_images(query.images, query.dataset, canvas_of(query.detector_config))
    means = [
        mean_entropy(detector.class_probabilities(detector(inputs).logits).double())
        for _, inputs in image_chunks(images, query.dataset.rows(query.pool), "entropy", device)
    ]
    return torch.cat(means).cpu().numpy().astype(np.float64)


def mean_entropy(probabilities: Tensor) -> Tensor:
    """Return the mean entropy of each image's anchors, [B], given distributions [B, A, C + 1].

    Each anchor counts with its probability of holding an object (class 0 is the background), so that the mean is
    over what the detector takes for objects, without a threshold, and no image is preferred for having many.
    """
    entropy = -(probabilities * probabilities.clamp_min(1e-12).log()).sum(-1)
    weight = 1 - probabilities[..., 0]
    return (weight * entropy).sum(1) / weight.sum(1).clamp_min(1e-12)
