"""How many objects of each class an image contains, predicted from similar labelled images.

A weak detector often finds the wrong class, while images of one class look alike. So what a detector makes of an
image, its features and what it finds, is taken for a description, of which the labelled images say what it means.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GridSearchCV, KFold
from threadpoolctl import threadpool_limits

from mgral.artefacts.seeds import derive_seed
from mgral.data.dataset import Dataset
from mgral.selection.embeddings import Embeddings, standardise

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

SMOOTHING = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Ridge penalties to choose from."""
WIDTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Widths w of the Gaussian kernel exp(-w d^2 / m), with m the median squared distance of two labelled images."""
FOLDS = 5
MOST = 2000
"""Labelled images that are learnt from, drawn at random where there are more: the cost is cubic."""
IMAGES_AT_A_TIME = 4096


def count_again(embeddings: Embeddings, dataset: Dataset, labelled: Rows, seed: int) -> Embeddings:
    """Return the embeddings with object counts and class presence learnt anew from the given labelled images.

    For labelled images both are taken from the labels, for others they are predicted. No other label is read.
    Embeddings of cycle 0 are used in later cycles, so counts are learnt again when more images are labelled.

    Parameters
    ----------
    labelled
        Ids of the labelled images, int64 [n]. If there are none, or the counts were learnt from the same images, the
        embeddings are returned unchanged.
    """
    counted = np.sort(labelled)
    if not len(counted) or np.array_equal(counted, embeddings.counted):
        return embeddings
    vectors = np.concatenate([embeddings.components, standardise(embeddings.class_scores)], axis=1)
    rows, counts_seed = dataset.rows(counted), derive_seed(seed, "object counts")
    true_counts = dataset.object_counts(counted)
    counts = predict_object_counts(vectors, rows, true_counts, counts_seed)
    presence = np.minimum(predict_object_counts(vectors, rows, np.minimum(true_counts, 1), counts_seed), 1)
    counts[rows], presence[rows] = true_counts, np.minimum(true_counts, 1)
    return replace(embeddings, counts=counts, presence=presence, counted=counted)


def predict_object_counts(vectors: Float32, labelled: Rows, counts: Rows, seed: int) -> Float32:
    """Return how many objects of each class to expect in every image, float32 [N, C], 0 or more.

    Kernel ridge regression on the images' vectors; penalty and width are those of the least squared error, each class
    in units of its own spread, in cross-validation over the labelled images.

    Parameters
    ----------
    vectors
        What a detector makes of the images, float32 [N, D].
    labelled
        Rows of the labelled images, int64 [n].
    counts
        Objects of each class in these, int64 [n, C].
    """
    rng = np.random.default_rng(seed)
    sample = rng.permutation(len(labelled))[:MOST]
    sample_vectors, counts = vectors[labelled[sample]].astype(np.float64), counts[sample]
    mean, spread = counts.mean(axis=0), counts.std(axis=0)
    squares = pairwise_distances(sample_vectors, metric="sqeuclidean")
    positive_squares = squares[squares > 0]
    if len(positive_squares) == 0 or not spread.any():
        return np.broadcast_to(mean, (len(vectors), len(mean))).astype(np.float32)
    choices = {"alpha": SMOOTHING, "gamma": [width / np.median(positive_squares) for width in WIDTHS]}
    folds = KFold(min(FOLDS, len(sample)))
    search = GridSearchCV(KernelRidge(kernel="rbf"), choices, scoring="neg_mean_squared_error", cv=folds)
    # Threads add up in the order in which they finish, which changes last bits.
    with threadpool_limits(limits=1):
        search.fit(sample_vectors, (counts - mean) / np.where(spread > 0, spread, 1))
        parts = np.array_split(vectors, -(-len(vectors) // IMAGES_AT_A_TIME))
        standardised = np.concatenate([search.predict(part.astype(np.float64)) for part in parts])
    expected: Float32 = np.maximum(standardised * spread + mean, 0).astype(np.float32)
    return expected
