"""Embeddings: pooled backbone features, standardised and projected on their principal components."""

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh

from mgral.data.images import Images
from mgral.detectors import Detector
from mgral.evaluation import image_chunks

LARGE = 1 << 24
"""Features, N * F, from which a decomposition of the whole matrix, which holds four copies of it in double precision,
gives way to one of its covariance, which squares the condition number and is exact enough for single precision."""
PART = 4096
"""Images whose features are in double precision at a time."""


@torch.no_grad()
def pooled_features(detector: Detector, images: Images) -> npt.NDArray[np.float32]:
    """Return the pooled features of every cached image, float32 [N, F]."""
    chunks = image_chunks(images, np.arange(len(images)), "embed", detector.device)
    _, first = next(chunks)
    of_first = detector.features(first).cpu().numpy()
    # One array that is filled: the chunks and what they are concatenated to would be twice as much.
    features = np.empty((len(images), of_first.shape[1]), dtype=np.float32)
    features[: len(of_first)] = of_first
    for rows, inputs in chunks:
        features[rows] = detector.features(inputs).cpu().numpy()
    return features


def project(features: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Standardise features [N, F] and project them on their first principal components, [N, D].

    The sign of a component is fixed by its largest loading, so that the result does not depend on the solver.
    The whole is scaled to a mean squared norm of 1, so that distances compare between detectors.
    """
    return _by_covariance(features, dimensions) if features.size > LARGE else _by_svd(features, dimensions)


def _by_svd(features: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    values = features.astype(np.float64)
    deviation = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    left, scale, right = np.linalg.svd(values, full_matrices=False)
    kept = min(dimensions, len(scale))
    embeddings = left[:, :kept] * scale[:kept] * _signs(right[:kept])
    norm = np.sqrt(np.square(embeddings).sum(axis=1).mean())
    scaled: npt.NDArray[np.float32] = (embeddings / (norm if norm > 0 else 1)).astype(np.float32)
    return scaled


def _by_covariance(features: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Find the components as the eigenvectors of X^T X, which is [F, F] however many images there are."""
    count, width = features.shape
    parts = np.array_split(np.arange(count), -(-count // PART))
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = np.sqrt(sum(np.square(features[rows] - mean).sum(axis=0) for rows in parts) / count)
    deviation[deviation <= 1e-12 * np.abs(mean)] = 1  # but for the mean's rounding, all images agree
    covariance = np.zeros((width, width))
    for rows in parts:
        values = (features[rows] - mean) / deviation
        covariance += values.T @ values
    kept = min(dimensions, count, width)
    squares, components = eigh(covariance, subset_by_index=(width - kept, width - 1), overwrite_a=True)
    axes = components.T[::-1]
    norm = np.sqrt(squares.clip(min=0).sum() / count)
    axes *= (_signs(axes) / (norm if norm > 0 else 1))[:, None]
    embeddings = np.empty((count, kept), dtype=np.float32)
    for rows in parts:
        embeddings[rows] = (features[rows] - mean) / deviation @ axes.T
    return embeddings


def _signs(components: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sign of the largest loading of each component, [D], given [D, F]."""
    largest = np.abs(components).argmax(axis=1)
    signs: npt.NDArray[np.float64] = np.sign(components[np.arange(len(components)), largest])
    return signs
