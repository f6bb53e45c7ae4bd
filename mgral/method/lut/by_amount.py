"""Looking a batch up by how much of each class it holds: on a line through the variants."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mgral.method.lut.estimators import regression

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ByAmount:
    """The estimator `regression`.

    How much of a class a set of images holds is the distance W_1 of its images' objects of the class from a set in
    which there is none: in one dimension, and from a single point, the mean of objects an image. What variants learnt
    from is known; what a batch holds is expected, by the embeddings.
    """

    directions: Float32
    """Of the classes' counts in the embeddings, as columns, float32 [D, G]."""
    no_object: Float64
    """What stands there for no object of a class, float64 [G]."""
    unit: Float64
    """How many objects a difference of 1 stands for, float64 [G]."""
    amounts: Float64
    """Objects an image in the variants' subsets, float64 [K, G]."""
    values: Float64
    """AP of each class, float64 [K, G]."""

    def __call__(self, batches: Float32) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of embeddings, float32 [S, B, D]."""
        return self._estimate(batches @ self.directions)

    def over(self, pool: Float32) -> Callable[[Rows], Float64]:
        """Return the lookup of batches of a pool, float32 [N, D]."""
        counts = pool @ self.directions
        return lambda rows: self._estimate(counts[rows])

    def _estimate(self, counts: Float32) -> Float64:
        amounts = objects_an_image(counts, self.no_object, self.unit)
        mean: Float64 = regression(amounts, self.amounts, self.values).mean(axis=1)
        return mean


def objects_an_image(counts: Float32, no_object: Float64, unit: Float64) -> Float64:
    """Return how many objects of each class sets of images hold an image, [S, G], by their embeddings, [S, B, G]."""
    objects: Float64 = np.maximum(counts.mean(axis=1, dtype=np.float64) - no_object, 0) * unit
    return objects
