"""The scores of the last cycle by size and by class."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mgral.report.drawing import Table
from mgral.report.results import Metrics, Results
from mgral.report.spread import Spread

FULL_DATA = "all labels"
"""Name of the detector trained on all labels, which no instance can have, as it holds a blank."""
SCORE_NAMES = {
    "map": "mAP@[.5:.95]",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_small": "AP small",
    "ap_medium": "AP medium",
    "ap_large": "AP large",
    "ap50_11point": "AP50, VOC’s 11 points",
    "ap50_area": "AP50, VOC’s area",
}
CLASS_TABLES = {"map": "scores_by_class", "ap50_11point": "scores_by_class_voc"}
"""Files of the tables by class, by the score that they show."""


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
    """Return the metrics of the last cycle, one a seed, by strategy, and of the full-data detector."""
    config = results.config
    gathered = {
        strategy: [results.rounds[seed, strategy, config.cycles].metrics for seed in config.seeds]
        for strategy in config.strategies
    }
    return {**gathered, FULL_DATA: [results.full[seed] for seed in config.seeds]}


def overall_rows(results: Results) -> list[ScoreRow]:
    """Return mAP, AP50, AP75, AP by COCO's sizes and, of VOC data, AP50 by VOC's rules."""

    def score(key: str) -> Callable[[Metrics], float]:
        return lambda metrics: metrics.scores[key]

    last = last_metrics(results)
    there = last[FULL_DATA][0].scores
    return [_row(name, None, last, score(key)) for key, name in SCORE_NAMES.items() if key in there]


def class_rows(results: Results) -> dict[str, list[ScoreRow]]:
    """Return the rows of each table by class, by the score that it shows, in the order of the metrics file."""
    last = last_metrics(results)
    classes = last[FULL_DATA][0].per_class

    def score(index: int, key: str) -> Callable[[Metrics], float]:
        return lambda metrics: metrics.per_class[index].scores[key]

    return {
        key: [_row(entry.name, entry.boxes, last, score(index, key)) for index, entry in enumerate(classes)]
        for key in CLASS_TABLES
        if key in classes[0].scores
    }


def _row(name: str, boxes: int | None, last: dict[str, list[Metrics]], score: Callable[[Metrics], float]) -> ScoreRow:
    spreads = {who: Spread.of([score(metrics) for metrics in found]) for who, found in last.items()}
    compared = {who: s.mean for who, s in spreads.items() if who != FULL_DATA and not np.isnan(s.mean)}
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
