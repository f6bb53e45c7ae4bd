"""The 1-Wasserstein distance W_1 between two sets of embeddings, exact and sliced.

A set is the uniform distribution over its rows. The ground cost is the Euclidean distance.
"""

import math
import os
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

CHUNK_VALUES = 1 << 18
"""Number of differences in memory at a time: 1 MB, which fits into the processor's cache."""


def exact_distance(first: Float32, second: Float32) -> float:
    """Return W_1 of two sets, float32 [B, D] and [M, D], by POT's network simplex (Bonneel et al. 2011)."""
    # Without this, POT imports torch, which takes seconds.
    os.environ.setdefault("POT_BACKEND_DISABLE_PYTORCH", "1")
    import ot
    from scipy.spatial.distance import cdist

    cost = cdist(first.astype(np.float64), second.astype(np.float64))
    if len(first) == 1 or len(second) == 1:
        return float(cost.mean())
    # POT takes empty weights as uniform weights. Its default of 100,000 iterations does not reach the optimum for
    # about a thousand images or more.
    return float(ot.emd2([], [], cost, numItermax=100_000_000))


def draw_projections(dimensions: int, count: int, rng: np.random.Generator) -> Float32:
    """Draw P directions uniformly from the unit sphere; return them as the columns of an array, float32 [D, P]."""
    directions = rng.standard_normal((dimensions, count))
    unit: Float32 = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
    return unit


def project_and_sort(sets: Float32, projections: Float32) -> Float32:
    """Project sets, float32 [K, M, D], on directions, float32 [D, P], and sort along M: float32 [K, M, P]."""
    return np.sort(sets @ projections, axis=1)


class SlicedDistance:
    """Sliced W_1 to K fixed sets: the mean over directions of W_1 between the projections (Bonneel et al. 2015).

    In one dimension W_1 is the area between the two quantile functions. For sets of the same size it is the mean
    absolute difference between the sorted values.
    """

    def __init__(self, projections: Float32 | None, presorted: Float32) -> None:
        """Take directions, float32 [D, P], and the sets, projected and sorted along M, float32 [K, M, P].

        Without directions, the columns of batches and sets are compared without projection.
        """
        self.projections = projections
        """Directions, float32 [D, P], or None."""
        # Directions before images, so that sorting and comparing read contiguous memory.
        self.sorted = np.ascontiguousarray(presorted.transpose(0, 2, 1))
        """Projections of the sets, float32 [K, P, M], ascending along M."""

    def __call__(self, batches: Float32) -> Float64:
        """Return the distances, float64 [S, K], of batches, float32 [S, B, D], to the K sets; B may differ from M."""
        mean: Float64 = self.along_directions(batches).mean(axis=2)
        return mean

    def along_directions(self, batches: Float32) -> Float64:
        """Return W_1 along each direction, float64 [S, K, P], of batches, float32 [S, B, D], to the K sets."""
        count, size, dimensions = batches.shape
        projected = batches
        if self.projections is not None:
            projected = (batches.reshape(-1, dimensions) @ self.projections).reshape(count, size, -1)
        values = np.sort(np.ascontiguousarray(projected.transpose(0, 2, 1)), axis=-1)
        sets, directions, members = self.sorted.shape
        distances = np.empty((count, sets, directions))
        levels = None if size == members else merged_levels(size, members)
        if levels is not None:
            values = values[..., levels[0]]
        step = max(1, CHUNK_VALUES // values[0].size)
        for start in range(0, sets, step):
            part = self.sorted[start : start + step]
            if levels is not None:
                part = part[..., levels[1]]
            for row in range(count):
                gap = part - values[row]
                np.abs(gap, out=gap)
                distances[row, start : start + step] = gap.mean(axis=2) if levels is None else gap @ levels[2]
        return distances


@lru_cache(maxsize=8)
def merged_levels(first: int, second: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Float32]:
    """Return the pieces on which the quantile functions of B and M sorted values are both constant.

    The jumps are at the levels i/B and j/M. They are compared as integers, multiplied by the least common multiple of
    B and M, because rounding could make equal levels different.

    Returns
    -------
    Index of the first set's value on each piece, index of the second set's value, and the widths, whose sum is 1.
    """
    common = math.lcm(first, second)
    ends = np.union1d(np.arange(1, first + 1) * (common // first), np.arange(1, second + 1) * (common // second))
    starts = np.concatenate([[0], ends[:-1]])
    widths = ((ends - starts) / common).astype(np.float32)
    return starts // (common // first), starts // (common // second), widths
