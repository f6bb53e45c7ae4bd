"""The reward of a batch, read off the lookup table instead of training a detector on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import map_arrays
from mgral.config import RewardConfig
from mgral.errors import InputError
from mgral.method.lut.by_amount import ByAmount
from mgral.method.lut.by_distance import ByDistance, SubsetDistance
from mgral.method.lut.wasserstein import SlicedDistance
from mgral.selection.pool import Embeddings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

ARRAYS = ("map", "baseline_map", "values", "embeddings", "projections", "sorted", "kernel_widths")
AMOUNTS = ("no_object", "unit", "amounts")
LOOKED_UP_IMAGES = 1 << 18
"""Images whose embeddings are looked up at a time, which bounds the memory: 268 MB of 256 dimensions."""


class Reward(Protocol):
    """What the agent learns from: anything that says what a batch is worth."""

    @property
    def baseline_map(self) -> float:
        """mAP without any batch, 0 to 1."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the mAP, 0 to 1, float64 [S], expected of batches of the pool, rows int64 [S, B]."""


@dataclass(frozen=True)
class RewardTable:
    """The trained variants' mAP, and where their subsets lie in the embedding space."""

    subsets: Float32
    """Embeddings of the subsets that variants 1..K were trained on, float32 [K, M, D]."""
    baseline_map: float
    """mAP of variant 0, which has no subset."""
    lookup: ByAmount | ByDistance
    """From batches of embeddings, float32 [S, B, D], to their looked-up mAP, float64 [S]."""

    @classmethod
    def load(cls, path: Path, reward: RewardConfig) -> "RewardTable":
        """Read `table.safetensors`; raises InputError naming the file where it cannot serve."""
        arrays = map_arrays(path)
        names = (*ARRAYS, *AMOUNTS) if reward.estimator == "regression" else ARRAYS
        missing = [name for name in names if name not in arrays]
        if missing:
            raise InputError(f"{path} holds no array {missing[0]}; run the step `table` again")
        for name in names:
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
        values, directions = arrays["values"], arrays["projections"]
        lookup: ByAmount | ByDistance
        if reward.estimator == "regression":
            lookup = ByAmount(directions, arrays["no_object"], arrays["unit"], arrays["amounts"], values)
        else:
            sliced = SlicedDistance(directions, arrays["sorted"])
            distance = SubsetDistance(arrays["embeddings"], sliced, reward.distance)
            lookup = ByDistance(distance, values, reward.estimator, arrays["kernel_widths"])
        return cls(arrays["embeddings"], float(arrays["baseline_map"][0]), lookup)

    def check_dimensions(self, dimensions: int, path: Path) -> None:
        """Raise InputError naming the table's file where its embeddings are not of the given dimension."""
        found = self.subsets.shape[2]
        if found != dimensions:
            raise InputError(
                f"{path} is of embeddings with {found} dimensions, not {dimensions}; run the step `table` again"
            )

    def over(self, pool: Float32, device: str = "cpu") -> "PoolReward":
        """Return the lookup of batches of a pool, float32 [N, D]; by the device where that takes long."""
        of_rows = self.lookup.over(pool) if isinstance(self.lookup, ByAmount) else self.lookup.over(pool, device)
        return PoolReward(self.baseline_map, of_rows)


@dataclass(frozen=True)
class PoolReward:
    """The looked-up reward of batches of one pool."""

    baseline_map: float
    """mAP of variant 0."""
    of_rows: Callable[[Rows], Float64]
    """From rows, int64 [S, B], to mAP, float64 [S]."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        count, size = batches.shape
        step = max(1, LOOKED_UP_IMAGES // size)
        return np.concatenate([self.of_rows(batches[start : start + step]) for start in range(0, count, step)])


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

    def lookup(self, batches: Rows) -> Float64:
        """Return the mean looked-up mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        mean: Float64 = np.mean([reward.lookup(batches) for reward in self.rewards], axis=0)
        return mean


@dataclass(frozen=True)
class LookupTable:
    """What the trained variants tell of a batch of images."""

    tables: tuple[RewardTable, ...]
    """One for each reward split."""
    embeddings: Embeddings
    """Of all training images."""

    def reward(self, batches: npt.ArrayLike) -> Float64:
        """Return the mean looked-up mAP, 0 to 1, float64 [S], of batches of image ids, int64 [S, B]."""
        vectors = np.stack([self.embeddings.of(batch) for batch in np.atleast_2d(batches)])
        mean: Float64 = np.mean([table.lookup(vectors) for table in self.tables], axis=0)
        return mean

    def over(self, pool: Float32, device: str = "cpu") -> MeanReward:
        """Return the lookup of batches of a pool, float32 [N, D]; by the device where that takes long."""
        return MeanReward([table.over(pool, device) for table in self.tables])


def load_tables(paths: Sequence[Path], embeddings: Embeddings, config: RewardConfig) -> LookupTable:
    """Read the tables of all reward splits.

    Raises
    ------
    InputError
        Naming the table that cannot serve.
    """
    tables = [RewardTable.load(path, config) for path in paths]
    for table, path in zip(tables, paths, strict=True):
        table.check_dimensions(embeddings.vectors.shape[1], path)
    return LookupTable(tuple(tables), embeddings)
