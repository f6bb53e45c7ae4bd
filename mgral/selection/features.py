"""Features of images by a detector: pooled maps of its backbone, their principal components, and scores by class."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches
from torch import Tensor

from mgral.config import Config
from mgral.data.dataset import Dataset
from mgral.data.image_set import ImageSet
from mgral.data.images import Images
from mgral.data.results import FoundBoxes
from mgral.evaluation.detect import image_chunks
from mgral.models.interface import DetectorModel
from mgral.models.suppression import Found, Limits
from mgral.selection.embeddings import Embeddings
from mgral.selection.object_counts import count_again

PART = 4096
"""Images whose means and deviations are computed at a time, in double precision."""
OBJECTS = Limits(score_threshold=0.05, nms_iou=0.5, max_detections=100)
"""What counts as an object found."""


def embed_images(
    config: Config, data: ImageSet, labelled: npt.NDArray[np.int64], detector: DetectorModel, seed: int
) -> Embeddings:
    """Embed images by the detector's pooled features, standardised and projected on their principal components.

    Beside them stand the predicted counts of objects of each class. They are learnt from the labelled images; labels
    of others are not read.

    Parameters
    ----------
    labelled
        Ids of the labelled images, int64 [n].
    """
    features = extract_features(detector, data.images, len(data.dataset.categories))
    return embed_features(config, data.dataset, labelled, features, seed)


def embed_features(
    config: Config, dataset: Dataset, labelled: npt.NDArray[np.int64], features: "Features", seed: int
) -> Embeddings:
    """Embed images as `embed_images` does, given the features of all; without a labelled image counts are 0."""
    components = project(features.features, config.embedding.dimensions)
    no_counts = np.zeros((len(components), len(dataset.categories)), np.float32)
    embeddings = Embeddings(
        dataset.image_ids, components, no_counts, no_counts, features.class_scores, np.array([], np.int64)
    )
    return count_again(embeddings, dataset, labelled, seed)


class Features(NamedTuple):
    """Features of N images."""

    features: npt.NDArray[np.float32]
    """Pooled features of the backbone, [N, F]."""
    class_scores: npt.NDArray[np.float32]
    """Sum of the scores of the objects found of each class, [N, C]."""


@torch.no_grad()
def extract_features(detector: DetectorModel, images: Images, classes: int) -> Features:
    """Show every cached image to a detector."""
    extracted: Features | None = None
    for rows, inputs in image_chunks(images, np.arange(len(images)), "embed", detector.device):
        pooled, detections = detector.features_and_detections(inputs, OBJECTS)
        features = pooled.cpu().numpy()
        if extracted is None:
            # Arrays that are filled: the chunks and what they are concatenated to would be twice as much.
            arrays = (np.empty((len(images), width), np.float32) for width in (features.shape[1], classes))
            extracted = Features(*arrays)
        extracted.features[rows] = features
        extracted.class_scores[rows] = [sum_by_class(objects, classes).cpu().numpy() for objects in detections]
    assert extracted is not None
    return extracted


def given_features(features: npt.NDArray[np.float32], found: FoundBoxes | None, classes: int) -> Features:
    """Return the features [N, F] that a command has written, with the scores of what it has found, if it says so."""
    class_scores = np.zeros((len(features), classes if found else 0), np.float32)
    if found:
        objects = found.above(OBJECTS.score_threshold, OBJECTS.max_detections)
        np.add.at(class_scores, (objects.rows, objects.labels), objects.scores)
    return Features(features, class_scores)


def sum_by_class(detections: Found, classes: int) -> Tensor:
    """Return the sum of the scores of an image's objects of each class, float32 [C]."""
    return detections.scores.new_zeros(classes).index_add(0, detections.labels, detections.scores)


def project(features: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Standardise features [N, F] and project them on their first principal components, float32 [N, D].

    The result is scaled to a mean squared norm of 1, so that distances compare between detectors.
    """
    scaler = StandardScaler()
    for part in gen_batches(len(features), PART):
        scaler.partial_fit(features[part])
    # The covariance of more features than images would take a minute to decompose.
    solver = "covariance_eigh" if len(features) >= features.shape[1] else "full"
    pca = PCA(min(dimensions, *features.shape), svd_solver=solver, copy=False)
    with np.errstate(invalid="ignore"):  # where all images are alike, there is no variance to explain
        embeddings: npt.NDArray[np.float32] = pca.fit_transform(scaler.transform(features))
    norm = np.sqrt(np.square(embeddings).sum(axis=1).mean())
    return embeddings / (norm if norm > 0 else 1)
