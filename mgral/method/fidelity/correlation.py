"""Rank correlation of looked-up rewards with measured gains, and its ceiling due to the noise of the gains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from mgral.artefacts.seeds import derive_seed

Array = npt.NDArray[np.float64]
RESAMPLES = 4000
"""Number of bootstrap resamples of the batches for an interval."""


@dataclass(frozen=True)
class Fidelity:
    """Spearman's correlation of looked-up rewards with measured gains, or the difference of two such correlations."""

    mean: float
    """Mean over the seeds."""
    low: float
    high: float
    """Bounds of the mean's 95 % bootstrap interval."""
    by_seed: tuple[float, ...]


def spearman(first: Array, second: Array) -> Array:
    """Return the rank correlation, [...], of two arrays [..., M] along the last axis; 0 if either is constant."""
    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    centred = [values - values.mean(axis=-1, keepdims=True) for values in ranks]
    norms = np.linalg.norm(centred[0], axis=-1) * np.linalg.norm(centred[1], axis=-1)
    products = (centred[0] * centred[1]).sum(axis=-1)
    correlation: Array = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    return correlation


def fidelity(looked_up: Sequence[Array], gains: Sequence[Array], seed: int) -> Fidelity:
    """Return the correlation of looked-up rewards with gains, averaged over seeds, given arrays [M] of each seed.

    The bootstrap resamples the batches within each seed. It does not resample the seeds, so the interval holds for
    these seeds only.
    """
    by_seed = [
        float(spearman(seed_rewards, seed_gains)) for seed_rewards, seed_gains in zip(looked_up, gains, strict=True)
    ]
    return _with_interval(by_seed, _resampled(looked_up, gains, seed))


def difference(first: Sequence[Array], second: Sequence[Array], gains: Sequence[Array], seed: int) -> Fidelity:
    """Return the first lookup's correlation with the gains less that of the second, given arrays [M] of each seed.

    Both correlations are computed on the same resamples of the batches.
    """
    first_by_seed, second_by_seed = (fidelity(looked_up, gains, seed).by_seed for looked_up in (first, second))
    return _with_interval(
        np.subtract(first_by_seed, second_by_seed).tolist(),
        _resampled(first, gains, seed) - _resampled(second, gains, seed),
    )


def _resampled(looked_up: Sequence[Array], gains: Sequence[Array], seed: int) -> Array:
    """Return the mean correlation over seeds in each resample of the batches, [RESAMPLES]."""
    generator = np.random.default_rng(derive_seed(seed, "fidelity bootstrap"))
    correlations = []
    for seed_rewards, seed_gains in zip(looked_up, gains, strict=True):
        rows = generator.integers(len(seed_rewards), size=(RESAMPLES, len(seed_rewards)))
        correlations.append(spearman(seed_rewards[rows], seed_gains[rows]))
    mean: Array = np.mean(correlations, axis=0)
    return mean


def _with_interval(by_seed: Sequence[float], resampled: Array) -> Fidelity:
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist()
    return Fidelity(float(np.mean(by_seed)), low, high, tuple(by_seed))


def noise_ceiling(repeats: Array) -> float:
    """Return the correlation that a perfect predictor would have with the mean of noisy gains, 0 to 1.

    Let r be the mean correlation between two repeats. By the Spearman-Brown formula, the reliability of the mean of R
    repeats is R r / (1 + (R - 1) r). Its square root is the ceiling. The ceiling is 0 if r is not positive.

    Parameters
    ----------
    repeats
        Gains of the M batches in each repeat, [R, M], with R >= 2.
    """
    count = len(repeats)
    pairs = [(i, j) for i in range(count) for j in range(i)]
    correlation = float(np.mean([spearman(repeats[i], repeats[j]) for i, j in pairs]))
    if correlation <= 0:
        return 0.0
    return float(np.sqrt(count * correlation / (1 + (count - 1) * correlation)))
