"""Estimators of mAP from distances: the nearest variant's, or a kernel mean over all variants.

A table looks a batch up under one distance, or under G of them, one a class, each with values of its own: the batch
is then worth the mean over the classes, as mAP is.
"""

import numpy as np
import numpy.typing as npt

from mgral.config import Distance, Estimator

Float64 = npt.NDArray[np.float64]


def estimators_of(distance: Distance) -> tuple[Estimator, ...]:
    """Return what can look up under a distance: amounts are of classes."""
    return ("nearest", "kernel", "regression") if distance == "by_class" else ("nearest", "kernel")


def nearest(distances: Float64, values: Float64) -> Float64:
    """Return the value of the nearest variant (the paper's lookup).

    Parameters
    ----------
    distances
        Shape [S, K, G].
    values
        AP of the variants, shape [K, G].

    Returns
    -------
    Shape [S, G].
    """
    of_nearest: Float64 = np.take_along_axis(values[None], distances.argmin(axis=1)[:, None], axis=1)[:, 0]
    return of_nearest


def kernel(distances: Float64, values: Float64, widths: Float64) -> Float64:
    """Return the mean of the values with weights exp(-(d / width)^2 / 2) (Nadaraya-Watson); shapes as `nearest`.

    Widths are of shape [G].
    """
    exponents = -0.5 * (distances / widths) ** 2
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    mean: Float64 = (weights * values).sum(axis=1) / weights.sum(axis=1)
    return mean


def estimate(distances: Float64, values: Float64, estimator: Estimator, widths: Float64) -> Float64:
    """Return looked-up values [S] by nearest or kernel, means over the G classes; widths as of `kernel`."""
    found = nearest(distances, values) if estimator == "nearest" else kernel(distances, values, widths)
    mean: Float64 = found.mean(axis=1)
    return mean


def leave_one_out(pairwise: Float64, values: Float64, estimator: Estimator, widths: Float64) -> Float64:
    """Predict each variant's value from the other variants, [K], by their distances [K, K, G]."""
    others = [np.delete(np.arange(len(values)), k) for k in range(len(values))]
    predictions = [
        estimate(pairwise[k, rows][None], values[rows], estimator, widths)[0] for k, rows in enumerate(others)
    ]
    return np.array(predictions)


def median_distances(pairwise: Float64) -> Float64:
    """Return the median distance, [G], between subsets, [K, K, G], that differ; 1 where none does.

    The kernel's widths go by it: one chosen by leave-one-out follows the noise of the few variants, which ranks
    batches less truly.
    """
    apart = pairwise[np.triu_indices(len(pairwise), k=1)]
    return np.array([np.median(one[one > 0]) if (one > 0).any() else 1.0 for one in apart.T])
