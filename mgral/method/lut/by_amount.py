"""Looking a batch up by how many objects of each class it holds: on a line through the variants."""

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

    The amount of a class in a set of images is the mean number of its objects in an image: the distance W_1 from a
    set without any. Of the variants' subsets and of a batch alike it is predicted.
    """

    zero: Float64
    """Where no object lies on the counts' scale, float64 [G]."""
    unit: Float64
    """Objects that a difference of 1 on the scale stands for, float64 [G]."""
    amounts: Float64
    """Objects of each class in an image of the variants' subsets, float64 [K, G]."""
    values: Float64
    """AP of each class, float64 [K, G]."""

    def __call__(self, scaled: Float32) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches by their images' scaled counts, float32 [S, B, G]."""
        return self.worth(self.describe(scaled), self.values)

    def describe(self, scaled: Float32) -> Float64:
        """Return the amounts of batches, float64 [S, G], by their images' scaled counts, float32 [S, B, G]."""
        return mean_objects(scaled, self.zero, self.unit)

    def worth(self, amounts: Float64, values: Float64) -> Float64:
        """Return the looked-up mAP, float64 [S], of amounts [S, G], were the variants' AP `values`, [K, G]."""
        mean: Float64 = regression(amounts, self.amounts, values).mean(axis=1)
        return mean

    def over(self, pool: Float32) -> Callable[[Rows], Float64]:
        """Return a function of rows, int64 [S, B], of a pool's scaled counts, [N, G]: the batches' amounts."""
        return lambda rows: self.describe(pool[rows])


def mean_objects(scaled: Float32, zero: Float64, unit: Float64) -> Float64:
    """Return the mean objects of each class in an image of sets of images, [S, G], given scaled counts [S, B, G].

    Counts are averaged on their scale, in single precision: policy gradient multiplies a difference in the last digit
    of a reward, so that the mean of the counts themselves would lead to other agents.
    """
    objects: Float64 = np.maximum(scaled.mean(axis=1, dtype=np.float64) - zero, 0) * unit
    return objects
