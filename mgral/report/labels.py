"""The labels that each strategy needs to reach a share of what all labels give."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from mgral.evaluation.coco import CURVE_SCORES
from mgral.report.bootstrap import NO_INTERVAL, Interval, percentile_interval
from mgral.report.curves import COSTS
from mgral.report.drawing import Table
from mgral.report.results import Array, Results
from mgral.report.spread import Difference, Spread, difference_cells

SHARE = 0.9
"""Part of the full-data detector's score to be reached, seed by seed."""


@dataclass(frozen=True)
class LabelsNeeded:
    """A strategy's labels until its curve reaches the target, of one score and in one kind of label.

    A seed whose curve never gets there is censored: all that is known is that it needs more than were labelled. A
    mean of the other seeds would flatter the strategy, so there are mean and interval only where all seeds get there.
    """

    strategy: str
    score: str
    cost: str
    by_seed: Array
    """[seeds]; NaN where the target is not reached."""
    last: Array
    """[seeds]: labels at the end."""
    to_random: Difference | None
    """None for random itself, and where a seed of either does not reach the target."""

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
    before = scores[first - 1]
    part = (target - before) / (scores[first] - before)
    return float(labels[first - 1] + part * (labels[first] - labels[first - 1]))


def labels_needed(results: Results, score: str, cost: str) -> list[LabelsNeeded]:
    """Return the labels that each strategy needs for `SHARE` of the full score, in the configured order."""
    strategies = tuple(results.config.strategies)
    labels = {strategy: results.curve(strategy, cost) for strategy in strategies}
    targets = SHARE * results.full[score]
    needed = {
        strategy: np.array(list(map(first_crossing, labels[strategy], results.curve(strategy, score), targets)))
        for strategy in strategies
    }
    random = needed.get(results.baseline or "")
    return [
        LabelsNeeded(
            strategy,
            score,
            cost,
            by_seed,
            labels[strategy][:, -1],
            None if strategy == results.baseline or random is None else _difference(by_seed, random),
        )
        for strategy, by_seed in needed.items()
    ]


def _difference(by_seed: Array, random: Array) -> Difference | None:
    return None if np.isnan(by_seed - random).any() else Difference.of(by_seed, random)


def labels_table(results: Results) -> Table:
    """Return labels needed for each score, kind of label, strategy and seed; not reached is an empty cell."""
    parts = []
    for score, cost in product(CURVE_SCORES, COSTS):
        for line in labels_needed(results, score, cost):
            key = {"score": score, "labels": cost, "strategy": line.strategy}
            seeds = {"seed": results.config.seeds, "reached": ~np.isnan(line.by_seed), "needed": line.by_seed}
            mean = {
                "seed": ["mean"],
                "reached": line.reached,
                "needed": line.by_seed.mean(),
                "last": line.last.mean(),
                "std": line.spread.std if line.spread else np.nan,
                **(line.interval or NO_INTERVAL)._asdict(),
                **difference_cells("to_random", line.to_random),
            }
            parts += [{**key, **seeds, "last": line.last}, {**key, **mean}]
    # As objects: a seed either reaches it or not, and of several some number does.
    return Table("labels_needed", pd.concat([pd.DataFrame(part, dtype=object) for part in parts]))


def counted(value: float, sign: bool = False) -> str:
    """Write a number of labels, or an en dash for NaN."""
    return "–" if np.isnan(value) else f"{value:{'+' if sign else ''},.0f}".replace("-", "−")


def needed_in_words(line: LabelsNeeded) -> str:
    """Write the labels that a strategy needs, or in how many seeds they are more than were labelled."""
    if line.spread and line.interval:
        low, high = line.interval
        return counted(line.spread.mean) + (f" ({counted(low)} to {counted(high)})" if line.interval.known else "")
    beyond = line.last[np.isnan(line.by_seed)]
    return f"> {counted(float(beyond.min()))} in {len(beyond)} of {len(line.by_seed)} seeds"
