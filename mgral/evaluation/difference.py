"""By how much detectors that learnt one kind of images are better than those that learnt another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from mgral.artefacts.seeds import derive_seed
from mgral.evaluation.cross_validation import class_means, precision_table, resampled_weights
from mgral.evaluation.overlap import Array

Verdict = Literal["better", "worse", "unknown"]
LEVEL = 0.95
"""Confidence level of the interval."""


@dataclass(frozen=True)
class Arm:
    """Detectors that each learnt a random part of a set of images, beside what all have learnt."""

    scores: Array
    """[R], at least two."""
    part: float
    """Part of the set that each has learnt, above 0 and below 1."""

    @property
    def variance(self) -> float:
        """Variance of the mean score, if the set were drawn again and the detectors trained again.

        Detectors differ by their parts and by training. Parts of one set differ less than parts of different sets: of
        the variance v between different sets, (1 - part) * v is seen between parts of one, and part * v is that of
        the mean over all its parts (as of a mean over a finite population; Cochran, *Sampling techniques*, 1977,
        chapter 2). All that is seen is taken to be of parts, so that the variance is rather too large than too small.
        """
        seen = float(self.scores.var(ddof=1))
        return seen * (1 / len(self.scores) + self.part / (1 - self.part))


@dataclass(frozen=True)
class Difference:
    """How much better one kind is than another, with a 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Whether the first kind is better or worse, if the interval excludes 0; else unknown."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "unknown"


def difference(first: Arm, second: Arm, image_variance: float, units: int) -> Difference:
    """Return by how much the first kind is better, with Welch's interval.

    Parameters
    ----------
    image_variance
        Variance of the difference if the images that it is measured on were drawn again.
    units
        Number of these images, groups of near-copies counted once.
    """
    variances = np.array([first.variance, second.variance, image_variance])
    freedom = np.array([len(first.scores) - 1, len(second.scores) - 1, units - 1])
    value, total = float(first.scores.mean() - second.scores.mean()), float(variances.sum())
    if total == 0:
        return Difference(value, value, value)
    half_width = float(stats.t.ppf((1 + LEVEL) / 2, total**2 / (variances**2 / freedom).sum()) * np.sqrt(total))
    return Difference(value, value - half_width, value + half_width)


def measured_scores(
    truth: Mapping[str, Any],
    first: Sequence[Sequence[Any]],
    second: Sequence[Sequence[Any]],
    units: Sequence[Sequence[int]],
) -> tuple[Array, Array, float]:
    """Return the mAP of each detector of two kinds, and the variance of the difference of their means over units.

    Parameters
    ----------
    truth
        COCO JSON of images that no detector has learnt.
    first, second
        COCO results of each detector.
    units
        Ids of the images, in groups that are drawn together, each image once.
    """
    images = sorted(image for unit in units for image in unit)
    weights = resampled_weights(images, units, derive_seed(0, "difference", "bootstrap"))
    scores_by_kind = [
        np.array([class_means(precision_table(truth, results, images, weights).mean(axis=1)) for results in kind])
        for kind in (first, second)
    ]
    resampled = (scores_by_kind[0].mean(axis=0) - scores_by_kind[1].mean(axis=0))[1:]
    return scores_by_kind[0][:, 0], scores_by_kind[1][:, 0], float(np.nanvar(resampled, ddof=1))
