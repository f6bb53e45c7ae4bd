"""How good the detectors of the next batches will be, by the curve so far, and how unsure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

from mgral.evaluation.intervals import Interval

FEWEST_ROUNDS = 3
"""Rounds from which there is a forecast: the law has three unknown numbers."""
NOISE = np.geomspace(0.004, 0.08, 8)
"""Standard deviations, as scores from 0 to 1, that trainings on the same labels may have."""
USUAL_NOISE, NOISE_FACTOR = 0.015, 2.0
"""Prior of the noise: log-normal, with a median of 0.015 (1.5 points), and a logarithm with a deviation of ln 2. The
seeds of published experiments differ by 0.4 to 4 points (docs/results)."""
EXPONENTS = np.geomspace(0.1, 2.0, 7)
"""Exponents that the power law may have; all have the same prior probability."""
STEPS = 100
_TAILS = (0.025, 0.5, 0.975)
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Expected:
    """What is expected of a detector of so many pictures."""

    pictures: int
    score: float
    """Median of the score that will be measured on the same images, 0 to 1."""
    interval: Interval
    """95 % interval of that score, with the noise of its training."""
    gain: float
    """Median rise of the law's score, without noise, from another number of pictures."""
    gain_interval: Interval


@dataclass(frozen=True)
class Law:
    """Curves that fit the rounds so far, each as likely as its weight says.

    An inverse power law: the score of n pictures is last + rest * (1 - (N / n)^exponent), where N are the pictures of
    the last round, `last` its score without noise, and `rest` what an endless number of pictures would add. Such laws
    are the usual ones of learning curves: Figueroa et al., BMC Medical Informatics and Decision Making 12:8, 2012;
    Viering and Loog, *The Shape of Learning Curves: a Review*, TPAMI 2023.

    Few rounds do not settle three numbers, so no single curve is fitted: all are weighted by how well they agree with
    the scores (Bayes' rule; as Domhan et al., IJCAI 2015, extrapolate the curves of a training). What a score may be
    off has two parts: that of the images, and noise of its training, which no resample of images shows.
    """

    pictures: int
    """N."""
    last: Array
    """[K]: mean of `last`; rest, exponent and so on likewise."""
    last_error: Array
    """Its standard deviation."""
    rest: Array
    exponent: Array
    error: Array
    """Standard deviation of a measured score."""
    weight: Array
    """Together 1."""

    def at(self, pictures: int, since: int) -> Expected:
        """Return the expected score of a detector of some pictures, and its gain over one of `since` pictures."""
        score = self._score(pictures)
        spread = np.hypot(self.last_error, self.error)
        low, middle, high = (self._quantile(score, spread, part) for part in _TAILS)
        least, half, most = _quantiles(score - self._score(since), self.weight)
        return Expected(pictures, middle, Interval(low, high), half, Interval(least, most))

    def needed(self, target: float) -> tuple[float, float, float]:
        """Return how many pictures, in all, a target needs by the law: 2.5th percentile, median, 97.5th percentile.

        Infinite where it is never reached.
        """
        nodes, node_weights = np.polynomial.hermite_e.hermegauss(7)  # stand for a normal number
        missing = target - (self.last + nodes[:, None] * self.last_error)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            pictures = self.pictures * (1 - missing / self.rest) ** (-1 / self.exponent)
        needed = np.where(missing <= 0, self.pictures, np.where(missing < self.rest, pictures, np.inf))
        weight = node_weights[:, None] / node_weights.sum() * self.weight
        low, middle, high = _quantiles(needed.ravel(), weight.ravel())
        return low, middle, high

    def _score(self, pictures: int) -> Array:
        return self.last + self.rest * (1 - (self.pictures / pictures) ** self.exponent)

    def _quantile(self, mean: Array, spread: Array, part: float) -> float:
        """Return a quantile, from 0 to 1, of a mixture of normal distributions with the weights of the law."""
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            below = float(self.weight @ ndtr((middle - mean) / spread))
            low, high = (middle, high) if below < part else (low, middle)
        return (low + high) / 2


def fit_law(pictures: Sequence[int], scores: Sequence[float], scatter: float) -> Law | None:
    """Return the law of a curve; None of fewer than three rounds with different numbers of pictures.

    Parameters
    ----------
    pictures
        That each round's detector learnt from.
    scores
        Of each, 0 to 1.
    scatter
        Standard deviation of a round's score over resamples of the images, without what all rounds have in common:
        the law is of the scores on these images.
    """
    if len(set(pictures)) < FEWEST_ROUNDS:
        return None
    count, measured = max(pictures), np.asarray(scores, dtype=np.float64)
    ratios = count / np.asarray(pictures, dtype=np.float64)
    roots = (np.arange(STEPS) + 0.5) / STEPS
    rest = roots**2  # closer to each other where curves are flat
    laws = []
    for noise, exponent in product(NOISE, EXPONENTS):
        error = np.hypot(noise, scatter)
        lasts = measured - rest[:, None] * (1 - ratios**exponent)
        # `last` has a flat prior, so given the other numbers it is normally distributed.
        last = lasts.mean(axis=1)
        fit = -((lasts - last[:, None]) ** 2).sum(axis=1) / (2 * error**2) - (len(measured) - 1) * np.log(error)
        log_prior = -0.5 * (np.log(noise / USUAL_NOISE) / np.log(NOISE_FACTOR)) ** 2
        possible = log_ndtr((1 - last - rest) * np.sqrt(len(measured)) / error)  # that no score is above 1
        log_weight = fit + log_prior + possible + np.log(roots)
        laws.append(np.stack([last, rest, *(np.full(STEPS, value) for value in (exponent, error)), log_weight]))
    last, rest, exponents, errors, log_weight = np.concatenate(laws, axis=1)
    weight = np.exp(log_weight - log_weight.max())
    return Law(
        pictures=count,
        last=last,
        last_error=errors / np.sqrt(len(measured)),
        rest=rest,
        exponent=exponents,
        error=errors,
        weight=weight / weight.sum(),
    )


def _quantiles(values: Array, weight: Array) -> tuple[float, float, float]:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order])
    indices = np.searchsorted(below, np.array(_TAILS) * below[-1])
    low, middle, high = (float(value) for value in values[order][indices])
    return low, middle, high
