"""The reward that is learned from the variants of all tables: what a batch adds on top of what is labelled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.method.lut.composition import FEATURES, Composition
from mgral.method.lut.regression import Regression, Sample, learn
from mgral.selection.embeddings import Embeddings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

LOOKED_UP_VALUES = 1 << 24
"""Amounts of images that are looked up at a time, 64 MB."""


@dataclass(frozen=True)
class LearnedReward:
    """The mAP that is expected of the labelled images and a batch of the pool."""

    baseline_map: float
    """mAP that is expected of the labelled images alone."""
    weights: Float64
    """AP of each class for a unit of each feature, [C, F]."""
    composition: Composition
    labelled: Float64
    """Amounts of the labelled images, [J]."""
    pool: Float32
    """Amounts of each image of the pool, [N, J]."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the expected mAP, float64 [S], of batches of the pool, rows int64 [S, B]."""
        step = max(1, LOOKED_UP_VALUES // (batches.shape[1] * self.pool.shape[1]))
        parts = [batches[start : start + step] for start in range(0, len(batches), step)]
        return np.concatenate([self.worth(self.pool[part].sum(axis=1, dtype=np.float64)) for part in parts])

    def with_each(self, rows: Rows, tried: Rows) -> Float64:
        """Return the expected mAP, float64 [n], of one batch, rows int64 [B], with each of n other rows in turn."""
        return self.worth(self.pool[rows].sum(axis=0, dtype=np.float64) + self.pool[tried])

    def worth(self, amounts: Float64) -> Float64:
        """Return the expected mAP, float64 [...], of batches with these total amounts, [..., J]."""
        return self.baseline_map + self._of(self.labelled + amounts) - self._of(self.labelled)

    def _of(self, totals: Float64) -> Float64:
        gain: Float64 = np.einsum("...cf,cf->...", self.composition.features(totals), self.weights)
        return gain / len(self.weights)


@dataclass(frozen=True)
class LearnedTables:
    """The lookup tables of all reward splits, as one regression."""

    regression: Regression
    baseline_map: float
    """mAP that is expected of the labelled images alone."""
    composition: Composition
    embeddings: Embeddings
    """Embeddings of all training images; their counts are learnt from the labelled ones."""

    @classmethod
    def of(cls, tables: Sequence[Mapping[str, npt.NDArray[Any]]], embeddings: Embeddings) -> "LearnedTables":
        """Learn from the arrays of the tables, with the amounts that these embeddings predict of their images.

        Without a table a batch is worth what the prior of the regression says.
        """
        composition = Composition.of(embeddings)
        samples = [as_sample({**one, **described(one, composition)}) for one in tables]
        regression = learn(samples, composition.classes, len(FEATURES))
        labelled = composition.features(composition.totals(embeddings.counted))
        # The prior ranks batches; it is not what variants have reached.
        weights = regression.weights * regression.valid
        expected = [_expected(one, labelled, len(embeddings.counted), weights) for one in samples]
        return cls(regression, float(np.mean(expected)) if expected else 0.0, composition, embeddings)

    def reward(self, batches: npt.ArrayLike) -> Float64:
        """Return the expected mAP, 0 to 1, float64 [S], of batches of image ids, int64 [S, B]."""
        ids = np.atleast_2d(np.asarray(batches, np.int64))
        pool, rows = np.unique(ids, return_inverse=True)
        return self.over(pool).lookup(rows.reshape(ids.shape))

    def over(self, pool: Rows, device: str = "cpu") -> LearnedReward:
        """Return the reward of batches of a pool, ids int64 [N]; it is computed on the CPU."""
        labelled = self.composition.totals(self.embeddings.counted)
        amounts = self.composition.of_images(pool)
        return LearnedReward(self.baseline_map, self.regression.weights, self.composition, labelled, amounts)


def _expected(sample: Sample, features: Float64, images: int, weights: Float64) -> float:
    """Return the mAP expected of labelled images with these features, [C, F], by the classes of a table.

    mAP rises with the logarithm of the images as it does between the variants.
    """
    means = np.nanmean(sample.values - (sample.features * weights).sum(axis=2), axis=1)
    sizes = np.log(np.maximum(sample.images, 1))
    slope = np.polyfit(sizes, means, 1)[0] if np.ptp(sizes) > 0 else 0.0
    measured = np.isfinite(sample.values).all(axis=0)
    own = (features * weights).sum(axis=1)[measured].mean()
    return float(means.mean() + slope * (np.log(max(images, 1)) - sizes.mean()) + own)


def described(table: Mapping[str, npt.NDArray[Any]], composition: Composition) -> dict[str, Float64]:
    """Return a table's arrays on what its variants have learnt from.

    `features`, [K, C, F]; `roots` of the objects of each class, [K, C]; and how many images, `learnt`, [K].
    """
    sets = [np.union1d(table["base"], images) for images in table["images"]]
    totals = np.stack([composition.totals(images) for images in sets])
    sizes = np.array([len(one) for one in sets], np.float64)
    return {"features": composition.features(totals), "roots": composition.roots(totals), "learnt": sizes}


def as_sample(table: Mapping[str, npt.NDArray[Any]]) -> Sample:
    """Return the variants of a table, given its arrays."""
    values = np.full(table["features"].shape[:2], np.nan)
    values[:, table["classes"]] = table["values"]
    return Sample(table["features"], values, table["learnt"])
