"""Estimators of mAP from distances: the value of the nearest variant, or a kernel mean over all variants.

Between a batch and a subset there is one distance, or there are G distances, one for each class. With G distances,
the AP of each class is estimated by its own distance, and the mean over the classes is the mAP.
"""

import numpy as np
import numpy.typing as npt

from mgral.config import Distance, Estimator

Float64 = npt.NDArray[np.float64]


def estimators_of(distance: Distance) -> tuple[Estimator, ...]:
    """Return the estimators that work with a distance; the regression needs the values of each class."""
    return ("nearest", "kernel", "regression") if distance == "by_class" else ("nearest", "kernel")


def nearest(distances: Float64, values: Float64) -> Float64:
    """Return the value of the nearest variant, as the paper does.

    Parameters
    ----------
    distances
        Distances of S batches to the subsets of K variants, [S, K, G].
    values
        AP or mAP of the variants, 0 to 1, [K, G].

    Returns
    -------
    Looked-up AP or mAP of the batches, [S, G].
    """
    nearest_values: Float64 = np.take_along_axis(values[None], distances.argmin(axis=1)[:, None], axis=1)[:, 0]
    return nearest_values


def kernel(distances: Float64, values: Float64, widths: Float64) -> Float64:
    """Return the mean of the values with weights exp(-(d / width)^2 / 2), by Nadaraya and Watson.

    Widths have the shape [G]; the other shapes are those of `nearest`.
    """
    exponents = -0.5 * (distances / widths) ** 2
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    mean: Float64 = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return mean


def estimate(distances: Float64, values: Float64, estimator: Estimator, widths: Float64) -> Float64:
    """Return the looked-up mAP, [S], by `nearest` or `kernel`, as the mean over the G classes."""
    estimates = nearest(distances, values) if estimator == "nearest" else kernel(distances, values, widths)
    mean: Float64 = estimates.mean(axis=1)
    return mean


def leave_one_out(pairwise: Float64, values: Float64, estimator: Estimator, widths: Float64) -> Float64:
    """Predict the mAP of each variant, [K], from the other variants and the distances between subsets, [K, K, G]."""
    other_rows = [np.delete(np.arange(len(values)), k) for k in range(len(values))]
    predictions = [
        estimate(pairwise[k, rows][None], values[rows], estimator, widths)[0] for k, rows in enumerate(other_rows)
    ]
    return np.array(predictions)


def median_distances(pairwise: Float64) -> Float64:
    """Return the median distance between subsets that differ, [G], given all distances [K, K, G]; 1 if none differ.

    It is the width of the kernel. A width chosen by leave-one-out would follow the noise of the few variants, and
    batches would be ranked worse.
    """
    distances = pairwise[np.triu_indices(len(pairwise), k=1)]
    return np.array([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in distances.T])
