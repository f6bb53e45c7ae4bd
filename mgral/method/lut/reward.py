"""The reward of a batch: the mAP that is looked up in tables of variants, so that no detector has to be trained."""

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
"""Names of the arrays of every table."""
LEARNED = ("classes", "images", "base", "features", "roots", "learnt")
"""Those from which the regression is learned."""
BY_CLASS = (*COMMON, *LEARNED, "counts", "count_zero", "count_unit", "count_mean")
"""Those of a table with `reward.distance: by_class`."""
BY_VECTOR = (*COMMON, "embeddings", "projections", "sorted")
"""Those of a table with another distance."""
LOOKED_UP_IMAGES = 1 << 18
"""Number of images in the batches that are looked up at a time, to bound memory: 268 MB for 256 dimensions."""
LOOKED_UP_DISTANCES = 1 << 24
"""Number of distances of the batches that are looked up at a time, to bound memory: 134 MB."""


class Reward(Protocol):
    """The interface that an agent is trained with: it gives batches of a pool their expected mAP."""

    @property
    def baseline_map(self) -> float:
        """mAP without any batch, 0 to 1."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the expected mAP (1 = 100 %), float64 [S], of batches given by rows of the pool, int64 [S, B].

        A learned reward extrapolates, so it can be below 0 or above 1.
        """


@dataclass(frozen=True)
class RewardTable:
    """The lookup table of one reward split: the mAP of its variants, and features of their subsets."""

    subsets: Float32
    """Embeddings, float32 [K, M, D], or object counts, float32 [K, M, C], of the images of the subsets S_1..S_K."""
    classes: Rows | None
    """Classes whose AP is looked up by their counts, int64 [G]; None if mAP is looked up by embeddings."""
    scale: Scale | None
    """Scale of the counts; None if mAP is looked up by embeddings."""
    maps: Float64
    """mAP of the variants 1..K, 0 to 1, float64 [K]."""
    baseline_map: float
    """mAP of variant 0, whose subset is empty, 0 to 1."""
    estimate: ByDistance
    """Estimates mAP, float64 [S], of batches of embeddings, [S, B, D], or of scaled counts, [S, B, G]."""

    @classmethod
    def load(cls, path: Path, reward: RewardConfig) -> "RewardTable":
        """Read `table.safetensors`; raises InputError, which names the file, if the table cannot be used."""
        return cls.of(read_table(path, reward), reward)

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], reward: RewardConfig) -> "RewardTable":
        """Make a table from the arrays of `table.safetensors`."""
        distance = subset_distance(arrays, reward.distance)
        estimate = ByDistance(distance, arrays["values"], reward.estimator, arrays["kernel_widths"])
        common = arrays["map"], float(arrays["baseline_map"][0]), estimate
        if reward.distance != "by_class":
            return cls(arrays["embeddings"], None, None, *common)
        return cls(arrays["counts"], arrays["classes"], count_scale(arrays), *common)

    def lookup(self, batches: ImageFeatures) -> Float64:
        """Return the looked-up mAP, 0 to 1, float64 [S], of S batches."""
        return self.estimate(self._vectors_or_counts(batches))

    def lookup_subsets(self, other: "RewardTable") -> Float64:
        """Return the looked-up mAP, 0 to 1, float64 [K], of the subsets of another table."""
        return self.estimate(self._scaled(other.subsets))

    def over(self, pool: ImageFeatures, device: str = "cpu") -> "PoolReward":
        """Return the reward of batches of a pool of N images; the device computes sliced distances."""
        distances_of_rows = self.estimate.over(self._vectors_or_counts(pool), device)
        return PoolReward(self.baseline_map, distances_of_rows, self.estimate.worth, self.estimate.values)

    def _vectors_or_counts(self, features: ImageFeatures) -> Float32:
        """Return what distances are computed from: the embeddings, or the scaled counts of the table's classes."""
        return self._scaled(features.vectors if self.classes is None else features.counts)

    def _scaled(self, values: Float32) -> Float32:
        """Return embeddings unchanged, and counts of all classes as scaled counts of the table's classes."""
        return values if self.scale is None else self.scale.apply(values)[..., self.classes]


@dataclass(frozen=True)
class PoolReward:
    """The reward of batches of one pool, looked up by distance in one table."""

    baseline_map: float
    """mAP of variant 0, 0 to 1."""
    distances_of_rows: Callable[[Rows], Float64]
    """Returns the distances to the subsets, float64 [S, K, G], of batches, rows int64 [S, B]."""
    worth: Callable[[Float64, Float64], Float64]
    """Estimates mAP, float64 [S], from these distances and the values of the variants, float64 [K, G]."""
    values: Float64
    """AP of each class, or mAP, of the variants, float64 [K, G]."""

    def distances(self, batches: Rows) -> Float64:
        """Return the distances to the subsets, float64 [S, K, G], of batches, rows int64 [S, B]."""
        count, size = batches.shape
        step = max(1, LOOKED_UP_IMAGES // size)
        return np.concatenate(
            [self.distances_of_rows(batches[start : start + step]) for start in range(0, count, step)]
        )

    def lookup(self, batches: Rows) -> Float64:
        """Return the looked-up mAP, float64 [S], of batches given by rows of the pool, int64 [S, B]."""
        step = max(1, LOOKED_UP_DISTANCES // self.values.size)
        parts = [batches[start : start + step] for start in range(0, len(batches), step)]
        return np.concatenate([self.worth(self.distances(part), self.values) for part in parts])


@dataclass(frozen=True)
class MeanReward:
    """The reward of batches of one pool, averaged over the tables of several reward splits.

    With few reward images a table can rank batches wrongly, even in reverse. Different splits have different errors,
    which partly cancel out in the mean.
    """

    rewards: Sequence[PoolReward]

    @property
    def baseline_map(self) -> float:
        """Mean mAP of variant 0 over the tables, 0 to 1."""
        return float(np.mean([reward.baseline_map for reward in self.rewards]))

    def lookup(self, batches: Rows) -> Float64:
        """Return the mean looked-up mAP, float64 [S], of batches given by rows of the pool, int64 [S, B]."""
        mean: Float64 = np.mean([reward.lookup(batches) for reward in self.rewards], axis=0)
        return mean

    def with_each(self, rows: Rows, tried: Rows) -> Float64:
        """Return the mean looked-up mAP, float64 [n], of one batch, int64 [B], with each of n other rows added."""
        return self.lookup(np.column_stack([np.tile(rows, (len(tried), 1)), tried]))


@dataclass(frozen=True)
class LookupTable:
    """The lookup tables of all reward splits, and the embeddings with which they are looked up."""

    tables: tuple[RewardTable, ...]
    """One table for each reward split."""
    embeddings: Embeddings
    """Embeddings of all training images."""
    embedding: EmbeddingConfig

    def reward(self, batches: npt.ArrayLike) -> Float64:
        """Return the mean looked-up mAP, 0 to 1, float64 [S], of batches of image ids, int64 [S, B]."""
        features = self.embeddings.features_of(np.atleast_2d(batches), self.embedding)
        mean: Float64 = np.mean([table.lookup(features) for table in self.tables], axis=0)
        return mean

    def features_of(self, image_ids: npt.ArrayLike) -> ImageFeatures:
        """Return the embeddings and object counts of the images with the given ids."""
        return self.embeddings.features_of(image_ids, self.embedding)

    def over(self, pool: Rows, device: str = "cpu") -> MeanReward:
        """Return the reward of batches of a pool, ids int64 [N]; the device computes sliced distances."""
        features = self.features_of(pool)
        return MeanReward([table.over(features, device) for table in self.tables])


AnyTables = LookupTable | LearnedTables
AnyReward = MeanReward | LearnedReward


def load_tables(paths: Sequence[Path], embeddings: Embeddings, config: Config) -> AnyTables:
    """Read the tables of all reward splits.

    With `reward.distance: by_class`, the object counts of the subsets are taken from the given embeddings. The counts
    of subsets and batches are then on one scale, even if more images are labelled than when the tables were made.

    Raises
    ------
    InputError
        If a table cannot be used; the message names it.
    """
    arrays = [_read_for_embeddings(path, embeddings, config) for path in paths]
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
    return LookupTable(tuple(RewardTable.of(table, reward) for table in arrays), embeddings, embedding)


def _read_for_embeddings(path: Path, embeddings: Embeddings, config: Config) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a table, with the counts of its subsets from these embeddings."""
    arrays, by_class = read_table(path, config.reward), config.reward.distance == "by_class"
    features = embeddings.features_of(embeddings.image_ids[:1], config.embedding)
    table_size = arrays["counts" if by_class else "embeddings"].shape[-1]
    embedding_size = (features.counts if by_class else features.vectors).shape[-1]
    if table_size != embedding_size:
        unit = "classes" if by_class else "dimensions"
        raise InputError(f"{path} was made for {table_size} {unit}, not {embedding_size}; run the step `table` again")
    return arrays | count_arrays(arrays["images"], arrays["classes"], embeddings) if by_class else arrays


def read_table(path: Path, reward: RewardConfig) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of `table.safetensors`; raises InputError, which names the file, if they cannot be used."""
    arrays = map_arrays(path)
    names = BY_CLASS if reward.distance == "by_class" else BY_VECTOR
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{path} contains no array {missing[0]}; run the step `table` again")
    for name in names:
        if not np.isfinite(arrays[name]).all():
            raise InputError(
                f"{path}: {name} contains a value that is not finite; run the steps `variant` and `table` again"
            )
    if reward.distance != "by_class" and arrays["projections"].shape[1] != reward.projections:
        raise InputError(f"{path} was made with another reward.projections; run the step `table` again")
    return arrays
