"""The 1-Wasserstein distance between sets of embeddings, exact and sliced.

Both compare the uniform distributions over the rows of two sets, with the Euclidean distance as ground cost.
"""

import math
import os
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

CHUNK_VALUES = 1 << 18
"""Differences held at a time: 1 MB, which stays in the processor's cache."""


def exact_distance(first: Float32, second: Float32) -> float:
    """Return W_1 of two sets [B, D] and [M, D] by POT's network simplex (Bonneel et al. 2011)."""
    # POT imports torch, seconds of start-up, unless told not to before its own import.
    os.environ.setdefault("POT_BACKEND_DISABLE_PYTORCH", "1")
    import ot
    from scipy.spatial.distance import cdist

    cost = cdist(first.astype(np.float64), second.astype(np.float64))
    if len(first) == 1 or len(second) == 1:
        return float(cost.mean())
    # Empty weights are POT's name for uniform ones. Its default of 100,000 iterations stops short of the optimum
    # from about a thousand images on.
    return float(ot.emd2([], [], cost, numItermax=100_000_000))


def draw_projections(dimensions: int, count: int, rng: np.random.Generator) -> Float32:
    """Return directions uniform on the unit sphere, as columns: float32 [D, P]."""
    directions = rng.standard_normal((dimensions, count))
    unit: Float32 = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
    return unit


def project_and_sort(sets: Float32, projections: Float32) -> Float32:
    """Project sets [K, M, D] on directions [D, P] and sort each along M: float32 [K, M, P]."""
    return np.sort(sets @ projections, axis=1)


class SlicedDistance:
    """Sliced W_1 to K fixed sets: the mean over directions of the W_1 of the projections (Bonneel et al. 2015).

    In one dimension W_1 is the area between the two quantile functions; with sets of one size, the mean
    difference of the sorted values.
    """

    def __init__(self, projections: Float32 | None, presorted: Float32) -> None:
        """Take directions, float32 [D, P], and the sets, projected and sorted along M, float32 [K, M, P].

        Without directions the columns of the batches are compared as they are.
        """
        self.projections = projections
        """Float32 [D, P], or None."""
        # Directions before images: sorting and comparing then run along contiguous memory.
        self.sorted = np.ascontiguousarray(presorted.transpose(0, 2, 1))
        """Float32 [K, P, M], ascending along M."""

    def __call__(self, batches: Float32) -> Float64:
        """Return the distances float64 [S, K] of batches [S, B, D], of any size B, to the K sets."""
        mean: Float64 = self.along_directions(batches).mean(axis=2)
        return mean

    def along_directions(self, batches: Float32) -> Float64:
        """Return W_1 along each direction, float64 [S, K, P], of batches [S, B, D], of any size B, to the K sets."""
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
    """Return the pieces between the jumps of two quantile functions of B and M values.

    The rank of each piece in either sorted set, and the width of the piece; widths add up to 1. The levels i/B
    and j/M are compared as integers over their least common multiple, so that equal ones are found equal.
    """
    common = math.lcm(first, second)
    ends = np.union1d(np.arange(1, first + 1) * (common // first), np.arange(1, second + 1) * (common // second))
    starts = np.concatenate([[0], ends[:-1]])
    widths = ((ends - starts) / common).astype(np.float32)
    return starts // (common // first), starts // (common // second), widths
