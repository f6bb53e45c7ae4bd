"""Embeddings: pooled backbone features, standardised and projected on their principal components."""

import numpy as np
import numpy.typing as npt
import torch

from mgral.data.images import Images
from mgral.detectors import Detector
from mgral.evaluation import image_chunks


@torch.no_grad()
def pooled_features(detector: Detector, images: Images) -> npt.NDArray[np.float32]:
    """Return the pooled features of every cached image, float32 [N, F]."""
    chunks = [
        detector.features(inputs).cpu().numpy()
        for _, inputs in image_chunks(images, np.arange(len(images)), "embed", detector.device)
    ]
    return np.concatenate(chunks)


def project(features: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Standardise features [N, F] and project them on their first principal components, [N, D].

    The sign of a component is fixed by its largest loading, so that the result does not depend on the solver.
    The whole is scaled to a mean squared norm of 1, so that distances compare between detectors.
    """
    values = features.astype(np.float64)
    deviation = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    left, scale, right = np.linalg.svd(values, full_matrices=False)
    kept = min(dimensions, len(scale))
    largest = np.abs(right[:kept]).argmax(axis=1)
    sign = np.sign(right[np.arange(kept), largest])
    embeddings = left[:, :kept] * scale[:kept] * sign
    norm = np.sqrt(np.square(embeddings).sum(axis=1).mean())
    scaled: npt.NDArray[np.float32] = (embeddings / (norm if norm > 0 else 1)).astype(np.float32)
    return scaled
