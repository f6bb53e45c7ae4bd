"""Means over seeds, their spread, and what a difference between two strategies is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from mgral.evaluation.intervals import Interval, outer_ends
from mgral.report.bootstrap import FEWEST_SEEDS, percentile_interval, student_interval


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
        known = _known(values)
        if not len(known):
            return cls(np.nan, np.nan, np.nan, np.nan, 0)
        std = float(known.std(ddof=1)) if len(known) > 1 else np.nan
        return cls(float(known.mean()), std, float(known.min()), float(known.max()), len(known))


@dataclass(frozen=True)
class PairedDifference:
    """A difference paired by seed: its spread and its 95 % intervals."""

    spread: Spread
    bootstrap: Interval
    """Paired percentile bootstrap."""
    student: Interval
    """Student's t, n - 1 degrees of freedom."""

    @classmethod
    def of(cls, values: npt.ArrayLike, baseline: npt.ArrayLike) -> Self:
        """Compare values with a baseline seed by seed, both [seeds]; seeds where either is NaN are left out."""
        known = _known(np.subtract(values, baseline))
        return cls(Spread.of(known), percentile_interval(known), student_interval(known))

    @property
    def interval(self) -> Interval:
        """What the difference is judged by: the outer ends of both; NaN of too few seeds."""
        return outer_ends(self.bootstrap, self.student)

    @property
    def clear(self) -> bool:
        """Whether both intervals exclude 0: of a few seeds the bootstrap's alone is too narrow."""
        return self.interval.excludes_zero

    def verdict(self, above: str = "clearly above", below: str = "clearly below") -> str:
        """Return the verdict on the difference in words; `above` and `below` are the words for a clear one."""
        if self.spread.n < FEWEST_SEEDS:
            return f"{self.spread.n} seed{'s' * (self.spread.n != 1)}: too few for an interval"
        if not self.clear:
            return "no clear difference"
        return above if self.spread.mean > 0 else below


def difference_in_words(difference: PairedDifference) -> str:
    """Say what a difference is, in a few words."""
    mean, interval = difference.spread.mean, difference.interval
    zero = rounds_to_zero(mean)
    text = "no difference" if zero else f"{points(mean, sign=True)} points"
    if not interval.known:
        return text
    if not zero or difference.clear:
        text = f"{difference.verdict()}, {'less than 0.1 points' if zero else text}"
    return f"{text} ({points_interval(interval, sign=True)})"


def difference_cells(name: str, difference: PairedDifference | None) -> dict[str, object]:
    """Return the cells of a difference by column, all empty for None; `_t` are the ends of Student's interval."""
    columns = [f"{name}{end}" for end in ("", "_std", "_low", "_high", "_t_low", "_t_high", "_clear")]
    if difference is None:
        return dict.fromkeys(columns, np.nan)
    spread, bootstrap, student = difference.spread, difference.bootstrap, difference.student
    values = (spread.mean, spread.std, *bootstrap, *student, difference.clear)
    return dict(zip(columns, values, strict=True))


def difference_in(row: Mapping[str, str], name: str) -> PairedDifference:
    """Return the difference of a row of the report's ranking, which `difference_cells` wrote."""
    mean, std, low, high, t_low, t_high = (
        float(row[f"{name}{end}"] or "nan") for end in ("", "_std", "_low", "_high", "_t_low", "_t_high")
    )
    spread = Spread(mean, std, np.nan, np.nan, int(row["seeds"]))
    return PairedDifference(spread, Interval(low, high), Interval(t_low, t_high))


def _known(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    return array[~np.isnan(array)]


def signed(value: float) -> str:
    """Write a correlation with its sign, or an en dash for NaN."""
    return "–" if np.isnan(value) else f"{value:+.2f}".replace("-", "−")


def points(value: float, digits: int = 1, sign: bool = False) -> str:
    """Write a score between 0 and 1 in per cent, what rounds to 0 without a sign, or an en dash for NaN."""
    if np.isnan(value):
        return "–"
    with_sign = sign and not rounds_to_zero(value, digits)
    return f"{100 * value:{'+' if with_sign else ''}z.{digits}f}".replace("-", "−")


def rounds_to_zero(value: float, digits: int = 1) -> bool:
    """Whether a score between 0 and 1 is 0 in per cent as it is written."""
    return round(100 * value, digits) == 0


def points_with_spread(spread: Spread, sign: bool = False) -> str:
    """Write a mean in per cent with its standard deviation, where there is one."""
    mean = points(spread.mean, sign=sign)
    return mean if np.isnan(spread.std) else f"{mean} ± {points(spread.std)}"


def points_interval(interval: Interval, sign: bool = False) -> str:
    """Write an interval of scores between 0 and 1 in per cent, or an en dash for none."""
    return f"{points(interval.low, sign=sign)} to {points(interval.high, sign=sign)}" if interval.known else "–"
