"""The scores of the last cycle by size and by class."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mgral.report.drawing import Table
from mgral.report.results import Metrics, Results
from mgral.report.spread import Spread

REFERENCE = "all labels"


@dataclass(frozen=True)
class ScoreRow:
    """One line of a table of scores: what is scored, and a spread over seeds for each strategy."""

    name: str
    boxes: int | None
    """Test boxes of a class."""
    spreads: dict[str, Spread]
    best: str
    """The strategy with the highest mean, among those that were compared; empty where there is none."""


def last_metrics(results: Results) -> dict[str, list[Metrics]]:
    """Return the metrics of the last cycle, one a seed, by strategy, and of the reference."""
    settings = results.settings
    gathered = {
        strategy: [results.rounds[seed, strategy, settings.cycles].metrics for seed in settings.seeds]
        for strategy in settings.strategies
    }
    return {**gathered, REFERENCE: [results.full[seed] for seed in settings.seeds]}


def overall_rows(results: Results) -> list[ScoreRow]:
    """Return mAP, AP50, AP75 and AP by COCO's sizes."""
    names = {
        "map": "mAP@[.5:.95]",
        "ap50": "AP50",
        "ap75": "AP75",
        "ap_small": "AP small",
        "ap_medium": "AP medium",
        "ap_large": "AP large",
    }

    def score(key: str) -> Callable[[Metrics], float]:
        return lambda metrics: metrics.scores[key]

    last = last_metrics(results)
    return [_row(name, None, last, score(key)) for key, name in names.items()]


def class_rows(results: Results) -> list[ScoreRow]:
    """Return mAP@[.5:.95] of each class, in the order of the metrics file."""
    last = last_metrics(results)

    def score(index: int) -> Callable[[Metrics], float]:
        return lambda metrics: metrics.per_class[index].map

    return [_row(entry.name, entry.boxes, last, score(i)) for i, entry in enumerate(last[REFERENCE][0].per_class)]


def _row(name: str, boxes: int | None, last: dict[str, list[Metrics]], score: Callable[[Metrics], float]) -> ScoreRow:
    spreads = {who: Spread.of([score(metrics) for metrics in found]) for who, found in last.items()}
    compared = {who: s.mean for who, s in spreads.items() if who != REFERENCE and not np.isnan(s.mean)}
    best = max(compared, key=lambda who: compared[who]) if len(compared) > 1 else ""
    return ScoreRow(name, boxes, spreads, best)


def scores_table(stem: str, rows: list[ScoreRow]) -> Table:
    """Return rows of scores, between 0 and 1, one line a strategy."""
    lines = tuple(
        {"name": row.name, "boxes": row.boxes, "strategy": who, "mean": s.mean, "std": s.std, "seeds": s.n}
        for row in rows
        for who, s in row.spreads.items()
    )
    return Table(stem, ("name", "boxes", "strategy", "mean", "std", "seeds"), lines)
