"""Looking a batch up by its distances from the variants' subsets: the nearest variant's value, or a kernel mean."""

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
    """Distances of batches to the K subsets of a table, as configured: by class there are G of them, else one."""

    subsets: Float32
    """Shape [K, M, D]: embeddings of the subsets' images, or by class their counts, [K, M, G]."""
    sliced: SlicedDistance
    """Along random projections, or class by class."""
    kind: Distance

    def __call__(self, batches: Float32) -> Float64:
        """Return float64 [S, K, G] for batches [S, B, D]."""
        if self.kind == "by_class":
            return self.sliced.along_directions(batches)
        if self.kind == "sliced":
            return self.sliced(batches)[..., None]
        return np.array([[[exact_distance(batch, subset)] for subset in self.subsets] for batch in batches])


@dataclass(frozen=True)
class ByDistance:
    """The estimators `nearest` and `kernel`."""

    distance: SubsetDistance
    values: Float64
    """AP of each class, float64 [K, G], or mAP, [K, 1]."""
    estimator: Estimator
    widths: Float64
    """Widths of the kernel, float64 [G]."""

    def __call__(self, batches: Float32) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of embeddings or counts, float32 [S, B, D]."""
        return self.worth(self.describe(batches), self.values)

    def describe(self, batches: Float32) -> Float64:
        """Return the distances to the subsets, float64 [S, K, G], of batches of embeddings or counts, [S, B, D]."""
        return self.distance(batches)

    def worth(self, distances: Float64, values: Float64) -> Float64:
        """Return the looked-up mAP, float64 [S], of distances [S, K, G], were the variants' AP `values`, [K, G]."""
        return estimate(distances, values, self.estimator, self.widths)

    def over(self, pool: Float32, device: str) -> Callable[[Rows], Float64]:
        """Return a function of rows, int64 [S, B], of a pool, float32 [N, D]: the distances of these batches.

        They are computed by the device, but for exact ones.
        """
        kind = self.distance.kind
        if kind == "exact" or device == "cpu":
            return lambda rows: self.describe(pool[rows])
        # The import of torch takes seconds, and `table` does without.
        from mgral.method.lut.torch_distance import PoolSlicedDistance

        on_device = PoolSlicedDistance(pool, self.distance.sliced, device)
        if kind == "by_class":
            return on_device.along_directions
        return lambda rows: on_device(rows)[..., None]
