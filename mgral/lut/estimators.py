"""From distances to a looked-up mAP: the nearest variant's, or a kernel mean over all variants."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Estimator = Literal["kernel", "nearest"]


def nearest(distances: Float64, values: Float64) -> Float64:
    """Return the value of the nearest variant (the paper's look-up).

    Parameters
    ----------
    distances
        Shape [S, K].
    values
        mAP of the variants, shape [K].

    Returns
    -------
    Shape [S].
    """
    of_nearest: Float64 = values[np.argmin(distances, axis=1)]
    return of_nearest


def kernel(distances: Float64, values: Float64, width: float) -> Float64:
    """Return the mean of the values with weights exp(-(d / width)^2 / 2) (Nadaraya-Watson); shapes as `nearest`."""
    exponents = -0.5 * (distances / width) ** 2
    weights = np.exp(exponents - exponents.max(axis=1, keepdims=True))
    mean: Float64 = weights @ values / weights.sum(axis=1)
    return mean


def estimate(distances: Float64, values: Float64, estimator: Estimator, width: float) -> Float64:
    """Return looked-up values [S] by the configured estimator; `width` is the kernel's."""
    return nearest(distances, values) if estimator == "nearest" else kernel(distances, values, width)


def leave_one_out(pairwise: Float64, values: Float64, estimator: Estimator, width: float) -> Float64:
    """Predict each variant's value from the other variants, [K], by their distances [K, K]."""
    others = [np.delete(np.arange(len(values)), k) for k in range(len(values))]
    predictions = [
        estimate(pairwise[k, rows][None], values[rows], estimator, width)[0] for k, rows in enumerate(others)
    ]
    return np.array(predictions)


def median_distance(pairwise: Float64) -> float:
    """Return the median distance between subsets, [K, K], that differ; 1 where none does.

    The kernel's width goes by it: one chosen by leave-one-out follows the noise of the few variants, which ranks
    batches less truly.
    """
    apart = pairwise[np.triu_indices(len(pairwise), k=1)]
    return float(np.median(apart[apart > 0])) if (apart > 0).any() else 1.0
