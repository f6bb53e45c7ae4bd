"""Looking a batch up by how much of each class it holds: on a line through the variants."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mgral.lut.estimators import regression

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ByAmount:
    """The estimator `regression`.

    How much of a class a set of images holds is the distance W_1 of its scores from a set in which nothing of it was
    found: in one dimension, and from a single point below all scores, the mean of what they are above it.
    """

    directions: Float32
    """Of the classes' scores, as columns, float32 [D, G]."""
    nothing: Float64
    """The score of an image in which nothing of a class was found, float64 [G]."""
    amounts: Float64
    """In the variants' subsets, float64 [K, G]."""
    values: Float64
    """AP of each class, float64 [K, G]."""

    def __call__(self, batches: Float32) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of embeddings, float32 [S, B, D]."""
        return self._estimate(amounts_of(batches @ self.directions, self.nothing))

    def over(self, pool: Float32) -> Callable[[Rows], Float64]:
        """Return the look-up of batches of a pool, float32 [N, D]."""
        scores = pool @ self.directions
        return lambda rows: self._estimate(amounts_of(scores[rows], self.nothing))

    def _estimate(self, amounts: Float64) -> Float64:
        mean: Float64 = regression(amounts, self.amounts, self.values).mean(axis=1)
        return mean


def amounts_of(scores: Float32, nothing: Float64) -> Float64:
    """Return how much of each class sets of images hold, float64 [S, G], by their scores, float32 [S, B, G]."""
    amounts: Float64 = np.maximum(scores.mean(axis=1, dtype=np.float64) - nothing, 0)
    return amounts
