"""The labels that each strategy needs: for a share of what all labels give, and for what random ends with."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np
import pandas as pd

from mgral.evaluation.coco import CURVE_SCORES
from mgral.evaluation.intervals import NO_INTERVAL, Interval
from mgral.report.bootstrap import percentile_interval
from mgral.report.detectors import Array, DetectorScores
from mgral.report.drawing import Table
from mgral.report.spread import PairedDifference, Spread, difference_cells

SHARE = 0.9
"""Part of the full-data detector's score to be reached, seed by seed."""
Target = Literal["full", "random"]
"""A score to be reached: `SHARE` of the full-data detector's, or that of random sampling's last cycle."""


@dataclass(frozen=True)
class LabelsNeeded:
    """A strategy's labels until its curve reaches a target, in one kind of label.

    A seed whose curve never gets there is censored: all that is known is that it needs more than were labelled. A
    mean of the other seeds would flatter the strategy, so there are mean and interval only where all seeds get there.
    """

    strategy: str
    by_seed: Array
    """[seeds]; NaN where the target is not reached."""
    last: Array
    """[seeds]: labels at the end."""
    random: Array | None
    """[seeds]: what random needs; None of random itself, and where it was not run."""

    @property
    def reached(self) -> int:
        """Seeds that reach the target."""
        return int((~np.isnan(self.by_seed)).sum())

    @property
    def spread(self) -> Spread | None:
        """Mean over seeds, where all reach the target."""
        return Spread.of(self.by_seed) if self.reached == len(self.by_seed) else None

    @property
    def interval(self) -> Interval | None:
        """Bootstrap interval of that mean."""
        return percentile_interval(self.by_seed) if self.reached == len(self.by_seed) else None

    @property
    def saved(self) -> PairedDifference | None:
        """Labels of random less those of the strategy, paired by seed, where all seeds of both reach the target."""
        if self.random is None or np.isnan(self.random - self.by_seed).any():
            return None
        return PairedDifference.of(self.random, self.by_seed)

    @property
    def saved_at_most(self) -> float:
        """Upper bound of the mean labels saved, where only random reaches the target in all seeds; else NaN.

        A seed that never reaches the target counts as if it did at its last label.
        """
        if self.random is None or self.reached == len(self.by_seed):
            return float("nan")
        return float((self.random - np.where(np.isnan(self.by_seed), self.last, self.by_seed)).mean())


def first_crossing(labels: Array, scores: Array, target: float) -> float:
    """Return the labels at which a curve, [points] each, first reaches a target, straight between points.

    The first labels where the curve starts there or above: fewer may do. NaN where it never gets there.
    """
    above = np.flatnonzero(scores >= target)
    if not len(above):
        return float("nan")
    first = int(above[0])
    if first == 0:
        return float(labels[0])
    score_before = scores[first - 1]
    fraction = (target - score_before) / (scores[first] - score_before)
    return float(labels[first - 1] + fraction * (labels[first] - labels[first - 1]))


def labels_needed(detectors: DetectorScores, score: str, cost: str, target: Target) -> list[LabelsNeeded]:
    """Return the labels that each strategy needs for a target, in the configured order.

    Random's own labels, too, are those where its curve first reaches the target. That can be before its end, because
    curves may fall; so noise helps both alike. The list is empty if the target is random's and random was not run.
    """
    strategies, baseline = tuple(detectors.config.strategies), detectors.baseline
    if target == "random" and baseline is None:
        return []
    targets = SHARE * detectors.full[score] if target == "full" else detectors.curve(str(baseline), score)[:, -1]
    labels = {strategy: detectors.curve(strategy, cost) for strategy in strategies}
    needed = {
        strategy: np.array(list(map(first_crossing, labels[strategy], detectors.curve(strategy, score), targets)))
        for strategy in strategies
    }
    random = needed.get(baseline or "")
    return [
        LabelsNeeded(strategy, by_seed, labels[strategy][:, -1], None if strategy == baseline else random)
        for strategy, by_seed in needed.items()
    ]


def needed_table(detectors: DetectorScores, cost: str) -> Table:
    """Return the labels of one kind that each seed needs for each target and score; not reached is empty."""
    seeds = detectors.config.seeds
    parts = [
        pd.DataFrame({**key, "strategy": line.strategy, "seed": seeds, "needed": line.by_seed, "last": line.last})
        for key, line in _all_lines(detectors, cost)
    ]
    return Table(f"labels_needed_in_{cost}", pd.concat(parts))


def saved_table(detectors: DetectorScores, cost: str) -> Table:
    """Return the means over seeds of the labels of one kind that are needed for each target, and saved."""
    rows = [
        {
            **key,
            "strategy": line.strategy,
            "seeds": len(line.by_seed),
            "reached": line.reached,
            "needed": line.by_seed.mean(),
            "std": line.spread.std if line.spread else np.nan,
            **(line.interval or NO_INTERVAL)._asdict(),
            **difference_cells("saved", line.saved),
            "saved_at_most": line.saved_at_most,
        }
        for key, line in _all_lines(detectors, cost)
    ]
    return Table(f"labels_saved_in_{cost}", pd.DataFrame(rows))


def _all_lines(detectors: DetectorScores, cost: str) -> Iterator[tuple[dict[str, str], LabelsNeeded]]:
    for target, score in product(get_args(Target), CURVE_SCORES):
        for line in labels_needed(detectors, score, cost, target):
            yield {"target": target, "score": score}, line


def counted(value: float, sign: bool = False) -> str:
    """Write a number of labels, 0 without a sign, or an en dash for NaN."""
    if np.isnan(value):
        return "–"
    rounded = round(value)
    return f"{rounded:{'+' if sign and rounded else ''},}".replace("-", "−")


def needed_in_words(line: LabelsNeeded) -> str:
    """Write the labels that a strategy needs, or in how many seeds they are more than were labelled."""
    if line.spread and line.interval:
        low, high = line.interval
        return counted(line.spread.mean) + (f" ({counted(low)} to {counted(high)})" if line.interval.known else "")
    beyond = line.last[np.isnan(line.by_seed)]
    return f"> {counted(float(beyond.min()))} in {len(beyond)} of {len(line.by_seed)} seeds"
