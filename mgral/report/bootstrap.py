"""The bootstrap over seeds: one draw of seeds serves all strategies, so that whatever is compared stays paired.

Percentile intervals: Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapter 13. Their BCa intervals
are not used: they estimate a third moment from a few seeds, and fail where all seeds agree. `scipy.stats.bootstrap`
gives the interval of one statistic; the ranking needs the resamples themselves, the same ones for all strategies.
"""

from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import stats

from mgral.artefacts.seeds import derive_seed
from mgral.evaluation.intervals import NO_INTERVAL, Interval

RESAMPLES = 10_000
FEWEST_SEEDS = 3
"""Fewest seeds for an interval. With two, a resample's mean takes only three values."""
_TAILS = (0.025, 0.975)


@cache
def resampled_seeds(seeds: int) -> npt.NDArray[np.int64]:
    """Return resamples of the positions of seeds, drawn with replacement, [resamples, seeds].

    If there are at most `RESAMPLES` possible ones (seeds^seeds), these are all of them; otherwise `RESAMPLES` are
    drawn at random.
    """
    if seeds**seeds <= RESAMPLES:
        return np.array(list(product(range(seeds), repeat=seeds)), dtype=np.int64)
    generator = np.random.default_rng(derive_seed(0, "report", "bootstrap"))
    return generator.integers(seeds, size=(RESAMPLES, seeds))


def resampled_means(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the means of values [..., seeds] over the seeds of each resample, [..., resamples]."""
    means: npt.NDArray[np.float64] = values[..., resampled_seeds(values.shape[-1])].mean(axis=-1)
    return means


def percentile_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Return the percentile interval of the mean of values, [seeds]; none of fewer than `FEWEST_SEEDS`."""
    if len(values) < FEWEST_SEEDS:
        return NO_INTERVAL
    return middle(resampled_means(values))


def middle(resampled: npt.NDArray[np.float64]) -> Interval:
    """Return the middle 95 % of a statistic's values in resamples, [resamples]."""
    low, high = np.quantile(resampled, _TAILS)
    return Interval(float(low), float(high))


def student_interval(values: npt.NDArray[np.float64]) -> Interval:
    """Return Student's interval of the mean of values, [seeds]; exact where seeds scatter normally."""
    if len(values) < FEWEST_SEEDS:
        return NO_INTERVAL
    half = float(stats.t.ppf(_TAILS[1], len(values) - 1) * stats.sem(values))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def percentile_coverage(seeds: int) -> float:
    """Return how often a percentile interval of normally scattered seeds covers the truth, about.

    It is narrower than Student's interval: by the factor sqrt((n - 1) / n), and because it has the quantile of the
    normal distribution in place of that of the t distribution.
    """
    reach = stats.norm.ppf(_TAILS[1]) * np.sqrt((seeds - 1) / seeds)
    return float(2 * stats.t.cdf(reach, seeds - 1) - 1)


def rank_interval(ranks: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the 2.5th and the 97.5th percentile of the ranks in all resamples, each a rank that occurs."""
    low, high = np.quantile(ranks, _TAILS, method="inverted_cdf")
    return int(low), int(high)
