"""The reward of a batch, read off the look-up table instead of training a detector on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mgral.artefacts import map_arrays
from mgral.config import Distance, RewardConfig
from mgral.errors import InputError
from mgral.lut.estimators import Estimator, estimate
from mgral.lut.wasserstein import SlicedDistance, exact_distance

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

ARRAYS = ("map", "baseline_map", "values", "embeddings", "projections", "sorted", "kernel_widths")
LOOKED_UP_IMAGES = 1 << 18
"""Images whose embeddings are looked up at a time, which bounds the memory: 268 MB of 256 dimensions."""


class Reward(Protocol):
    """What the agent learns from: anything that says what a batch is worth."""

    @property
    def baseline_map(self) -> float:
        """mAP without any batch, 0 to 1."""

    def look_up(self, batches: Rows) -> Float64:
        """Return the mAP, 0 to 1, float64 [S], expected of batches of the pool, rows int64 [S, B]."""


@dataclass(frozen=True)
class SubsetDistance:
    """Distances of batches to the K subsets of a table, as configured: by class there are G of them, else one."""

    embeddings: Float32
    """Shape [K, M, D]."""
    sliced: SlicedDistance
    """Along random projections, or along the classes' scores."""
    kind: Distance

    def __call__(self, batches: Float32) -> Float64:
        """Return float64 [S, K, G] for batches [S, B, D]."""
        if self.kind == "by_class":
            return self.sliced.along_directions(batches)
        if self.kind == "sliced":
            return self.sliced(batches)[..., None]
        return np.array([[[exact_distance(batch, subset)] for subset in self.embeddings] for batch in batches])


class RewardTable:
    """The trained variants' mAP, and where their subsets lie in the embedding space."""

    def __init__(
        self,
        values: Float64,
        baseline_map: float,
        distance: SubsetDistance,
        estimator: Estimator,
        kernel_widths: Float64,
    ) -> None:
        self.values = values
        """What is looked up: AP of each class that was measured, float64 [K, G], or mAP, [K, 1]."""
        self.baseline_map = baseline_map
        """mAP of variant 0, which has no subset."""
        self._distance = distance
        self._estimator = estimator
        self._widths = kernel_widths

    @property
    def subsets(self) -> Float32:
        """Embeddings of the subsets that variants 1..K were trained on, float32 [K, M, D]."""
        return self._distance.embeddings

    @classmethod
    def load(cls, path: Path, reward: RewardConfig) -> "RewardTable":
        """Read `table.safetensors`; raises InputError naming the file where it cannot serve."""
        arrays = map_arrays(path)
        missing = [name for name in ARRAYS if name not in arrays]
        if missing:
            raise InputError(f"{path} holds no array {missing[0]}; run the step `table` again")
        for name in ARRAYS:
            if not np.isfinite(arrays[name]).all():
                raise InputError(
                    f"{path}: {name} holds a value that is not finite; run the steps `variant` and `table` again"
                )
        if reward.distance != "by_class" and arrays["projections"].shape[1] != reward.projections:
            raise InputError(f"{path} was made with other reward.projections; run the step `table` again")
        return cls.of(arrays, reward)

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], reward: RewardConfig) -> "RewardTable":
        """Take the arrays of `table.safetensors`."""
        sliced = SlicedDistance(arrays["projections"], arrays["sorted"])
        return cls(
            values=arrays["values"],
            baseline_map=float(arrays["baseline_map"][0]),
            distance=SubsetDistance(arrays["embeddings"], sliced, reward.distance),
            estimator=reward.estimator,
            kernel_widths=arrays["kernel_widths"],
        )

    def check_dimensions(self, dimensions: int, path: Path) -> None:
        """Raise InputError naming the table's file where its embeddings are not of the given dimension."""
        found = self._distance.embeddings.shape[2]
        if found != dimensions:
            raise InputError(
                f"{path} is of embeddings with {found} dimensions, not {dimensions}; run the step `table` again"
            )

    def look_up(self, batches: Float32) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of embeddings, float32 [S, B, D]."""
        return self.estimate(self._distance(batches))

    def estimate(self, distances: Float64) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches at the given distances, [S, K, G], from the subsets."""
        return estimate(distances, self.values, self._estimator, self._widths)

    def over(self, pool: Float32, device: str = "cpu") -> "PoolReward":
        """Return the look-up of batches of a pool, float32 [N, D], by the device but for exact distances."""
        kind = self._distance.kind
        if kind == "exact" or device == "cpu":
            return PoolReward(self, lambda rows: self._distance(pool[rows]))
        # The import of torch takes seconds, and `table` does without.
        from mgral.lut.torch_distance import PoolSlicedDistance

        on_device = PoolSlicedDistance(pool, self._distance.sliced, device)
        if kind == "by_class":
            return PoolReward(self, on_device.along_directions)
        return PoolReward(self, lambda rows: on_device(rows)[..., None])


@dataclass(frozen=True)
class PoolReward:
    """The looked-up reward of batches of one pool."""

    table: RewardTable
    distance: Callable[[Rows], Float64]
    """From rows, int64 [S, B], to distances float64 [S, K, G]."""

    @property
    def baseline_map(self) -> float:
        """mAP of variant 0."""
        return self.table.baseline_map

    def look_up(self, batches: Rows) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        count, size = batches.shape
        step = max(1, LOOKED_UP_IMAGES // size)
        distances = [self.distance(batches[start : start + step]) for start in range(0, count, step)]
        return self.table.estimate(np.concatenate(distances))


@dataclass(frozen=True)
class MeanReward:
    """What tables of several reward splits say of a batch, on average.

    A few reward images may rank batches wrongly, even upside down; the splits err each in its own way.
    """

    rewards: Sequence[Reward]

    @property
    def baseline_map(self) -> float:
        """Mean mAP of the tables' variants 0."""
        return float(np.mean([reward.baseline_map for reward in self.rewards]))

    def look_up(self, batches: Rows) -> Float64:
        """Return the mean looked-up mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        mean: Float64 = np.mean([reward.look_up(batches) for reward in self.rewards], axis=0)
        return mean


def load_reward(tables: Sequence[Path], pool: Float32, config: RewardConfig, device: str) -> MeanReward:
    """Return the mean look-up in all tables of batches of the pool, float32 [N, D].

    Raises
    ------
    InputError
        Naming the table that cannot serve.
    """
    loaded = [RewardTable.load(path, config) for path in tables]
    for table, path in zip(loaded, tables, strict=True):
        table.check_dimensions(pool.shape[1], path)
    return MeanReward([table.over(pool, device) for table in loaded])
