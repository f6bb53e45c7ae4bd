"""Means over seeds, their spread, and what a difference between two strategies is worth."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True)
class Spread:
    """A mean over seeds; every number is NaN where there is none, and `std` (n - 1) where there is one seed only."""

    mean: float
    std: float
    minimum: float
    maximum: float
    n: int

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Self:
        """Summarise values, one a seed; NaN values are left out."""
        known = np.asarray(values, dtype=np.float64)
        known = known[~np.isnan(known)]
        if not len(known):
            return cls(np.nan, np.nan, np.nan, np.nan, 0)
        std = float(known.std(ddof=1)) if len(known) > 1 else np.nan
        return cls(float(known.mean()), std, float(known.min()), float(known.max()), len(known))


@dataclass(frozen=True)
class Difference:
    """A difference paired by seed: its spread and its 95 % interval (Student's t, n - 1 degrees of freedom)."""

    spread: Spread
    low: float
    high: float

    @classmethod
    def of(cls, values: npt.ArrayLike, reference: npt.ArrayLike) -> Self:
        """Compare values with a reference seed by seed, both [seeds]."""
        spread = Spread.of(np.subtract(values, reference))
        if spread.n < 2:
            return cls(spread, np.nan, np.nan)
        half = float(stats.t.ppf(0.975, spread.n - 1)) * spread.std / np.sqrt(spread.n)
        return cls(spread, spread.mean - half, spread.mean + half)

    @property
    def verdict(self) -> str:
        """What can be said of the difference, in words."""
        if self.spread.n < 2:
            return "one seed: no spread to compare with"
        if abs(self.spread.mean) <= self.spread.std:
            return "within the spread: not separable from random at these seeds"
        if self.low <= 0 <= self.high:
            return "beyond the spread, but not separable: the 95 % interval includes 0"
        return "separable from random: the 95 % interval excludes 0"


def points(value: float, digits: int = 1, sign: bool = False) -> str:
    """Write a score between 0 and 1 in per cent, or an en dash for NaN."""
    if np.isnan(value):
        return "–"
    return f"{100 * value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def points_with_spread(spread: Spread, sign: bool = False) -> str:
    """Write a mean in per cent with its standard deviation, where there is one."""
    mean = points(spread.mean, sign=sign)
    return mean if np.isnan(spread.std) else f"{mean} ± {points(spread.std)}"
