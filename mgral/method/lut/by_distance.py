"""Lookup of a batch by its distances to the subsets of the variants: nearest variant, or kernel mean."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mgral.config import Distance, Estimator
from mgral.method.lut.estimators import estimate
from mgral.method.lut.wasserstein import SlicedDistance, exact_distance

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SubsetDistance:
    """Computes the distances of batches to the K subsets of a table.

    With the distance `by_class` there are G distances, one for each class. Otherwise G is 1.
    """

    subsets: Float32
    """Embeddings of the subsets' images, [K, M, D]; with `by_class` their object counts, [K, M, G]."""
    sliced: SlicedDistance
    """Distance along random projections; with `by_class` along each class."""
    kind: Distance

    def __call__(self, batches: Float32) -> Float64:
        """Return the distances, float64 [S, K, G], of batches of embeddings or counts, float32 [S, B, D]."""
        if self.kind == "by_class":
            return self.sliced.along_directions(batches)
        if self.kind == "sliced":
            return self.sliced(batches)[..., None]
        return np.array([[[exact_distance(batch, subset)] for subset in self.subsets] for batch in batches])


@dataclass(frozen=True)
class ByDistance:
    """Estimates the mAP of batches by the estimators `nearest` and `kernel`."""

    distance: SubsetDistance
    values: Float64
    """Values of the variants: AP of each class, float64 [K, G], or mAP, [K, 1]."""
    estimator: Estimator
    widths: Float64
    """Widths of the kernel, float64 [G]."""

    def __call__(self, batches: Float32) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of embeddings or counts, float32 [S, B, D]."""
        return self.worth(self.distances(batches), self.values)

    def distances(self, batches: Float32) -> Float64:
        """Return the distances to the subsets, float64 [S, K, G], of batches of embeddings or counts, [S, B, D]."""
        return self.distance(batches)

    def worth(self, distances: Float64, values: Float64) -> Float64:
        """Return the looked-up mAP, float64 [S], given distances [S, K, G] and values of the variants, [K, G]."""
        return estimate(distances, values, self.estimator, self.widths)

    def over(self, pool: Float32, device: str) -> Callable[[Rows], Float64]:
        """Return a function from batches, rows int64 [S, B] of a pool float32 [N, D], to their distances [S, K, G].

        Sliced distances are computed on the device, exact ones always on the CPU.
        """
        kind = self.distance.kind
        if kind == "exact" or device == "cpu":
            return lambda rows: self.distances(pool[rows])
        # Imported here, because the import of torch takes seconds, and the step `table` does not need it.
        from mgral.method.lut.torch_distance import PoolSlicedDistance

        pool_distance = PoolSlicedDistance(pool, self.distance.sliced, device)
        if kind == "by_class":
            return pool_distance.along_directions
        return lambda rows: pool_distance(rows)[..., None]
