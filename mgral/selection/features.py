"""Features of images by a detector: pooled maps of its backbone, their principal components, and scores by class."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.linalg import eigh
from torch import Tensor

from mgral.artefacts.seeds import derive_seed
from mgral.config import Config
from mgral.data.image_set import ImageSet
from mgral.data.images import Images
from mgral.evaluation.detect import image_chunks
from mgral.models.interface import Detections, Detector, pooled
from mgral.selection.embeddings import Embeddings, standardise
from mgral.selection.object_counts import predict_object_counts
from mgral.selection.pool import unlabelled

LARGE = 1 << 24
"""Features, N * F, from which a decomposition of the whole matrix, which holds four copies of it in double precision,
gives way to one of its covariance, which squares the condition number and is exact enough for single precision."""
PART = 4096
"""Images whose features are in double precision at a time."""
OBJECT_SCORE, NMS_IOU, OBJECTS = 0.05, 0.5, 100
"""What counts as an object found: its score, its overlap with better ones, and how many of an image."""


def embed_images(
    config: Config, data: ImageSet, labelled: npt.NDArray[np.int64], detector: Detector, seed: int
) -> Embeddings:
    """Embed images by the detector's pooled features, standardised and projected on their principal components.

    Beside them stand the predicted counts of objects of each class. They are learnt from the labelled images; labels
    of others are not read.

    Parameters
    ----------
    labelled
        Ids of the labelled images, int64 [n].
    """
    dataset = data.dataset.without_labels(unlabelled(data.dataset.image_ids, labelled))
    features, class_scores = extract_features(detector, data.images, len(dataset.categories))
    components = project(features, config.embedding.dimensions)
    described = np.concatenate([components, standardise(class_scores)], axis=1)
    known, chance = dataset.rows(labelled), derive_seed(seed, "object counts")
    counts = predict_object_counts(described, known, dataset.object_counts(labelled), chance)
    return Embeddings(dataset.image_ids, components, counts)


class Features(NamedTuple):
    """Features of N images."""

    features: npt.NDArray[np.float32]
    """Pooled features of the backbone, [N, F]."""
    class_scores: npt.NDArray[np.float32]
    """Sum of the scores of the objects found of each class, [N, C]."""


@torch.no_grad()
def extract_features(detector: Detector, images: Images, classes: int) -> Features:
    """Show every cached image to a detector."""
    looks: Features | None = None
    for rows, inputs in image_chunks(images, np.arange(len(images)), "embed", detector.device):
        maps = detector.maps(inputs)
        features = pooled(maps).cpu().numpy()
        if looks is None:
            # Arrays that are filled: the chunks and what they are concatenated to would be twice as much.
            empty = (np.empty((len(images), width), np.float32) for width in (features.shape[1], classes))
            looks = Features(*empty)
        looks.features[rows] = features
        found = detector.detect(detector.predict(maps), OBJECT_SCORE, NMS_IOU, OBJECTS)
        looks.class_scores[rows] = [sum_by_class(one, classes).cpu().numpy() for one in found]
    assert looks is not None
    return looks


def sum_by_class(found: Detections, classes: int) -> Tensor:
    """Return the sum of the scores of an image's objects of each class, float32 [C]."""
    return found.scores.new_zeros(classes).index_add(0, found.labels, found.scores)


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
