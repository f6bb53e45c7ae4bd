"""From distances to a looked-up mAP: the nearest variant's, or a kernel mean over all variants."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Estimator = Literal["kernel", "nearest"]

# A table of noisy mAP is predicted best, in squared error, by its plain mean, which is the kernel of infinite width:
# every batch would be worth the same and the agent would have nothing to learn. So the width is chosen among
# fractions of the median distance between subsets, at which variants still differ in weight.
WIDTH_FRACTIONS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)


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


def choose_width(pairwise: Float64, values: Float64) -> float:
    """Return the kernel width, in units of distance, of least leave-one-out squared error; the first among equals."""
    apart = pairwise[np.triu_indices(len(values), k=1)]
    if not (apart > 0).any():
        return 1.0
    median = float(np.median(apart[apart > 0]))
    widths = [fraction * median for fraction in WIDTH_FRACTIONS]
    errors = [float(np.mean((leave_one_out(pairwise, values, "kernel", width) - values) ** 2)) for width in widths]
    return widths[int(np.argmin(errors))]
