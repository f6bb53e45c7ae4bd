"""The reward learned by regression from the variants of all tables: expected mAP of labelled images and a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.method.lut.composition import FEATURES, Composition, Features
from mgral.method.lut.regression import ERROR_RATE, Regression, Sample, learn
from mgral.selection.embeddings import Embeddings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

BY_CHANCE = (
    "the lookup tables predict no better than tables of shuffled values (permutation test, at an error rate of "
    f"{100 * ERROR_RATE:.0f} %)"
)
BY_PRIOR = "so only the number of images of each class counts"
"""How batches are compared without tables, or if the regression is not better than chance."""
LOOKED_UP_AMOUNTS = 1 << 24
"""Number of values in the amounts of the images that are looked up at a time: 64 MB in float32."""


@dataclass(frozen=True)
class LearnedReward:
    """The expected mAP of a detector trained on the labelled images and a batch of the pool.

    The effect of the number of images is left out, because it is the same for all batches of one size. So batches of
    different sizes cannot be compared.
    """

    baseline_map: float
    """Expected mAP with the labelled images alone, 0 to 1."""
    weights: Float64
    """AP of each class for a unit of each feature, float64 [C, F]."""
    composition: Composition
    labelled: Float64
    """Amounts of the labelled images, summed up, float64 [J]."""
    pool: Float32
    """Amounts of each image of the pool, float32 [N, J]."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the expected mAP, float64 [S], of batches given by rows of the pool, int64 [S, B]."""
        step = max(1, LOOKED_UP_AMOUNTS // (batches.shape[1] * self.pool.shape[1]))
        parts = [batches[start : start + step] for start in range(0, len(batches), step)]
        return np.concatenate([self.worth(self.pool[part].sum(axis=1, dtype=np.float64)) for part in parts])

    def with_each(self, rows: Rows, tried: Rows) -> Float64:
        """Return the expected mAP, float64 [n], of one batch, rows int64 [B], with each of n other rows added."""
        with_each: Float64 = self.worth_with_each(self.pool[rows].sum(axis=0, dtype=np.float64)[None], tried)[0]
        return with_each

    def worth_with_each(self, totals: Float64, rows: Rows) -> Float64:
        """Return the expected mAP, float64 [S, n], of S batches with each of n rows added.

        Parameters
        ----------
        totals
            Amounts of the batches, float64 [S, J].
        rows
            Rows of the pool, int64 [n].
        """
        features = self.composition.separate_features_with_each(
            self.labelled + totals, self.pool[rows].astype(np.float64)
        )
        return self._above_labelled(features)

    def worth(self, amounts: Float64) -> Float64:
        """Return the expected mAP, float64 [...], of batches with the given total amounts, float64 [..., J]."""
        return self._above_labelled(self.composition.separate_features(self.labelled + amounts))

    def _above_labelled(self, features: Features) -> Float64:
        """Return the expected mAP, float64 [...], of the labelled images and batches with these features together."""
        return self.baseline_map + self._weighted(features) - self._labelled_alone

    @cached_property
    def _labelled_alone(self) -> Float64:
        """Weighted features of the labelled images alone, averaged over the classes, float64 []."""
        return self._weighted(self.composition.separate_features(self.labelled))

    def _weighted(self, features: Features) -> Float64:
        """Return the weighted features, averaged over the classes, float64 [...]."""
        images, crowding, variety = self.weights.T
        total: Float64 = (
            features.images @ images + features.crowding * crowding.sum() + features.variety * variety.sum()
        )
        return total / len(self.weights)


@dataclass(frozen=True)
class LearnedTables:
    """The lookup tables of all reward splits, used together by one regression."""

    regression: Regression
    baseline_map: float
    """Expected mAP with the labelled images alone, 0 to 1."""
    composition: Composition
    embeddings: Embeddings
    """Embeddings of all training images; the labelled images were used to predict their object counts."""
    reason: str = ""
    """Why there is no table, if there is none."""

    @property
    def note(self) -> str | None:
        """How batches are compared, if that is not by the tables."""
        if self.reason:
            return f"no lookup table could be made ({self.reason}), {BY_PRIOR}"
        return None if self.regression.valid else f"{BY_CHANCE}, {BY_PRIOR}"

    @classmethod
    def of(
        cls, tables: Sequence[Mapping[str, npt.NDArray[Any]]], embeddings: Embeddings, reason: str = ""
    ) -> "LearnedTables":
        """Learn the regression from the arrays of the tables, with features computed anew from these embeddings.

        Without a table the prior of the regression is used; `reason` says why there is none.
        """
        composition = Composition.of(embeddings)
        samples = [as_sample({**table, **training_features(table, composition)}) for table in tables]
        regression = learn(samples, composition.classes, len(FEATURES))
        labelled_features = composition.features(composition.totals(embeddings.counted))
        # The prior only ranks batches. It predicts no mAP, so it counts as 0 here.
        weights = regression.weights if regression.valid else np.zeros_like(regression.weights)
        expected = [_expected(sample, labelled_features, len(embeddings.counted), weights) for sample in samples]
        return cls(regression, float(np.mean(expected)) if expected else 0.0, composition, embeddings, reason)

    def reward(self, batches: npt.ArrayLike) -> Float64:
        """Return the reward, float64 [S], of batches of image ids, int64 [S, B].

        It is the expected mAP (1 = 100 %), without the effect of the number of images. It extrapolates, so it can be
        below 0 or above 1. If the permutation test failed (`note`), it only ranks batches and is no mAP.
        """
        ids = np.atleast_2d(np.asarray(batches, np.int64))
        pool, rows = np.unique(ids, return_inverse=True)
        return self.over(pool).lookup(rows.reshape(ids.shape))

    def over(self, pool: Rows, device: str = "cpu") -> LearnedReward:
        """Return the reward for batches of a pool, ids int64 [N]; the CPU computes it, whatever the device."""
        labelled = self.composition.totals(self.embeddings.counted)
        amounts = self.composition.of_images(pool)
        return LearnedReward(self.baseline_map, self.regression.weights, self.composition, labelled, amounts)


def _expected(sample: Sample, features: Float64, images: int, weights: Float64) -> float:
    """Return the mAP expected with the labelled images, as the mean over the classes with an AP in a table.

    Its dependence on the number of images, linear in the logarithm, is fitted to the variants of the table.

    Parameters
    ----------
    features
        Features of the labelled images, float64 [C, F].
    images
        Number of the labelled images.
    weights
        Weights of the regression, float64 [C, F].
    """
    means = np.nanmean(sample.values - (sample.features * weights).sum(axis=2), axis=1)
    sizes = np.log(np.maximum(sample.images, 1))
    slope = np.polyfit(sizes, means, 1)[0] if np.ptp(sizes) > 0 else 0.0
    measured = np.isfinite(sample.values).all(axis=0)
    contribution = (features * weights).sum(axis=1)[measured].mean()
    return float(means.mean() + slope * (np.log(max(images, 1)) - sizes.mean()) + contribution)


def training_features(table: Mapping[str, npt.NDArray[Any]], composition: Composition) -> dict[str, Float64]:
    """Return those arrays of a table that describe the images on which its K variants were trained.

    These are `features`, [K, C, F]; `roots`, the square roots of the number of objects of each class, [K, C]; and
    `learnt`, the number of images, [K].
    """
    sets = [np.union1d(table["base"], images) for images in table["images"]]
    totals = np.stack([composition.totals(images) for images in sets])
    sizes = np.array([len(images) for images in sets], np.float64)
    return {"features": composition.features(totals), "roots": composition.roots(totals), "learnt": sizes}


def as_sample(table: Mapping[str, npt.NDArray[Any]]) -> Sample:
    """Return the variants of a table as data for the regression, given the table's arrays."""
    values = np.full(table["features"].shape[:2], np.nan)
    values[:, table["classes"]] = table["values"]
    return Sample(table["features"], values, table["learnt"])
