"""95 % intervals, and the outer ends of two kinds of them. Nothing heavy is imported, as the console needs it too."""

import math
from collections.abc import Mapping
from typing import NamedTuple


class Interval(NamedTuple):
    """A 95 % interval; NaN where there is none."""

    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is one."""
        return not math.isnan(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether all of it lies on one side of 0."""
        return self.low > 0 or self.high < 0


NO_INTERVAL = Interval(math.nan, math.nan)


def outer_ends(bootstrap: Interval, student: Interval) -> Interval:
    """Return what a difference is judged by: from the lower to the upper end of both; none where one is unknown."""
    if not (bootstrap.known and student.known):
        return NO_INTERVAL
    return Interval(min(bootstrap.low, student.low), max(bootstrap.high, student.high))


def interval_in(row: Mapping[str, str], name: str) -> Interval:
    """Return the outer ends of a difference's intervals from a row of one of the report's tables."""
    bootstrap, student = (
        Interval(*(float(row[f"{name}_{kind}{end}"] or "nan") for end in Interval._fields)) for kind in ("", "t_")
    )
    return outer_ends(bootstrap, student)
