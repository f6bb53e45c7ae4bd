"""The reward of a batch, looked up in the tables of variants instead of training a detector on it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import map_arrays
from mgral.config import Config, EmbeddingConfig, RewardConfig
from mgral.errors import InputError
from mgral.method.lut.by_distance import ByDistance
from mgral.method.lut.learned import LearnedReward, LearnedTables
from mgral.method.lut.table import count_arrays, count_scale, subset_distance
from mgral.selection.embeddings import Embeddings, ImageFeatures, Scale

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

COMMON = ("map", "baseline_map", "values", "kernel_widths")
LEARNED = ("classes", "images", "base", "features", "roots", "learnt")
BY_CLASS = (*COMMON, *LEARNED, "counts", "count_zero", "count_unit", "count_mean")
BY_VECTOR = (*COMMON, "embeddings", "projections", "sorted")
"""Arrays of a table, by what its distance compares."""
LOOKED_UP_IMAGES = 1 << 18
"""Images whose embeddings are looked up at a time, which bounds the memory: 268 MB of 256 dimensions."""
LOOKED_UP_VALUES = 1 << 24
"""Distances or amounts of batches that are looked up at a time, 134 MB."""


class Reward(Protocol):
    """What the agent learns from: anything that says what a batch is worth."""

    @property
    def baseline_map(self) -> float:
        """mAP without any batch, 0 to 1."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the mAP, 0 to 1, float64 [S], expected of batches of the pool, rows int64 [S, B]."""


@dataclass(frozen=True)
class RewardTable:
    """The trained variants' mAP, and the features of their subsets."""

    subsets: Float32
    """Embeddings, float32 [K, M, D], or counts, float32 [K, M, C], of the subsets' images of variants 1..K."""
    classes: Rows | None
    """The classes whose AP is looked up by their counts, int64 [G]; None where mAP is by embeddings."""
    scale: Scale | None
    """Scale of the counts, where classes are looked up."""
    maps: Float64
    """mAP of variants 1..K, float64 [K]."""
    baseline_map: float
    """mAP of variant 0, which has no subset."""
    estimate: ByDistance
    """Estimates mAP, float64 [S], of batches of embeddings, [S, B, D], or of scaled counts, [S, B, G]."""

    @classmethod
    def load(cls, path: Path, reward: RewardConfig) -> "RewardTable":
        """Read `table.safetensors`; raises InputError naming the file where it cannot serve."""
        return cls.of(read_table(path, reward), reward)

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], reward: RewardConfig) -> "RewardTable":
        """Take the arrays of `table.safetensors`."""
        distance = subset_distance(arrays, reward.distance)
        estimate = ByDistance(distance, arrays["values"], reward.estimator, arrays["kernel_widths"])
        known = arrays["map"], float(arrays["baseline_map"][0]), estimate
        if reward.distance != "by_class":
            return cls(arrays["embeddings"], None, None, *known)
        return cls(arrays["counts"], arrays["classes"], count_scale(arrays), *known)

    def lookup(self, batches: ImageFeatures) -> Float64:
        """Return the looked-up mAP, 0 to 1, float64 [S], of S batches."""
        return self.estimate(self._used(batches))

    def lookup_subsets(self, other: "RewardTable") -> Float64:
        """Return the looked-up mAP, 0 to 1, float64 [K], of another table's subsets."""
        return self.estimate(self._scaled(other.subsets))

    def over(self, pool: ImageFeatures, device: str = "cpu") -> "PoolReward":
        """Return the lookup of batches of a pool of N images; by the device where that takes long."""
        describe = self.estimate.over(self._used(pool), device)
        return PoolReward(self.baseline_map, describe, self.estimate.worth, self.estimate.values)

    def _used(self, features: ImageFeatures) -> Float32:
        return self._scaled(features.vectors if self.classes is None else features.counts)

    def _scaled(self, values: Float32) -> Float32:
        return values if self.scale is None else self.scale.apply(values)[..., self.classes]


@dataclass(frozen=True)
class PoolReward:
    """The looked-up reward of batches of one pool."""

    baseline_map: float
    """mAP of variant 0."""
    of_rows: Callable[[Rows], Float64]
    """Returns the distances, float64 [S, K, G], of batches, rows int64 [S, B]."""
    worth: Callable[[Float64, Float64], Float64]
    """Estimates mAP, float64 [S], from these and from the variants' values, float64 [K, G]."""
    values: Float64
    """AP of each class, or mAP, of the variants, float64 [K, G]."""

    def describe(self, batches: Rows) -> Float64:
        """Return the distances, float64 [S, K, G], of batches, rows int64 [S, B]."""
        count, size = batches.shape
        step = max(1, LOOKED_UP_IMAGES // size)
        return np.concatenate([self.of_rows(batches[start : start + step]) for start in range(0, count, step)])

    def lookup(self, batches: Rows) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        step = max(1, LOOKED_UP_VALUES // self.values.size)
        parts = [batches[start : start + step] for start in range(0, len(batches), step)]
        return np.concatenate([self.worth(self.describe(part), self.values) for part in parts])


@dataclass(frozen=True)
class MeanReward:
    """What tables of several reward splits say of a batch, on average.

    A few reward images may rank batches wrongly, even upside down; the splits err each in its own way.
    """

    rewards: Sequence[PoolReward]

    @property
    def baseline_map(self) -> float:
        """Mean mAP of the tables' variants 0."""
        return float(np.mean([reward.baseline_map for reward in self.rewards]))

    def lookup(self, batches: Rows) -> Float64:
        """Return the mean looked-up mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        mean: Float64 = np.mean([reward.lookup(batches) for reward in self.rewards], axis=0)
        return mean

    def with_each(self, rows: Rows, tried: Rows) -> Float64:
        """Return the mean looked-up mAP, float64 [n], of one batch with each of n other rows in turn."""
        return self.lookup(np.column_stack([np.tile(rows, (len(tried), 1)), tried]))


@dataclass(frozen=True)
class LookupTable:
    """The lookup tables of all reward splits, and the embeddings that they were made from."""

    tables: tuple[RewardTable, ...]
    """One for each reward split."""
    embeddings: Embeddings
    """Embeddings of all training images."""
    embedding: EmbeddingConfig

    def reward(self, batches: npt.ArrayLike) -> Float64:
        """Return the mean looked-up mAP, 0 to 1, float64 [S], of batches of image ids, int64 [S, B]."""
        features = self.embeddings.features_of(np.atleast_2d(batches), self.embedding)
        mean: Float64 = np.mean([table.lookup(features) for table in self.tables], axis=0)
        return mean

    def features_of(self, image_ids: npt.ArrayLike) -> ImageFeatures:
        """Return the features of images of the given ids."""
        return self.embeddings.features_of(image_ids, self.embedding)

    def over(self, pool: Rows, device: str = "cpu") -> MeanReward:
        """Return the lookup of batches of a pool, ids int64 [N]; by the device where that takes long."""
        features = self.features_of(pool)
        return MeanReward([table.over(features, device) for table in self.tables])


AnyTables = LookupTable | LearnedTables
AnyReward = MeanReward | LearnedReward


def load_tables(paths: Sequence[Path], embeddings: Embeddings, config: Config) -> AnyTables:
    """Read the tables of all reward splits.

    Where the embeddings' counts are of more labelled images than those that the tables were made with, the subsets'
    images are counted by them too, so that subsets and batches are on one scale.

    Raises
    ------
    InputError
        Naming the table that cannot serve.
    """
    arrays = [_read_with(path, embeddings, config) for path in paths]
    return as_tables(arrays, embeddings, config.embedding, config.reward)


def as_tables(
    arrays: Sequence[Mapping[str, npt.NDArray[Any]]],
    embeddings: Embeddings,
    embedding: EmbeddingConfig,
    reward: RewardConfig,
) -> AnyTables:
    """Return the tables of all reward splits, given the arrays of each `table.safetensors`."""
    if reward.estimator == "regression":
        return LearnedTables.of(arrays, embeddings)
    return LookupTable(tuple(RewardTable.of(one, reward) for one in arrays), embeddings, embedding)


def _read_with(path: Path, embeddings: Embeddings, config: Config) -> dict[str, npt.NDArray[Any]]:
    arrays, by_class = read_table(path, config.reward), config.reward.distance == "by_class"
    features = embeddings.features_of(embeddings.image_ids[:1], config.embedding)
    found = arrays["counts" if by_class else "embeddings"].shape[-1]
    given = (features.counts if by_class else features.vectors).shape[-1]
    if found != given:
        what = "classes" if by_class else "dimensions"
        raise InputError(f"{path} is of embeddings with {found} {what}, not {given}; run the step `table` again")
    return arrays | count_arrays(arrays["images"], arrays["classes"], embeddings) if by_class else arrays


def read_table(path: Path, reward: RewardConfig) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of `table.safetensors`; raises InputError naming the file where it cannot serve."""
    arrays = map_arrays(path)
    names = BY_CLASS if reward.distance == "by_class" else BY_VECTOR
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
    return arrays
