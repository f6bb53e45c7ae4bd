"""The scores of the last cycle by size and by class."""

from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd

from mgral.report.detectors import FULL_DATA
from mgral.report.drawing import Table
from mgral.report.results import Results

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
    """A line of the page: what is scored, and for each strategy mean and deviation over seeds."""

    name: str
    boxes: int | str
    """Test boxes of a class; empty for what is not of a class."""
    spreads: dict[Hashable, dict[Hashable, float]]
    """Mean and std, by strategy."""
    best: str
    """The strategy with the highest mean, among those that were compared; empty where there is none."""


def overall_scores(results: Results) -> Table:
    """Return mAP, AP50, AP75, AP by COCO's sizes and, of VOC data, AP50 by VOC's rules."""
    rounds = results.rounds
    last_scores = pd.concat([rounds[rounds["cycle"] == results.config.cycles], results.full])
    names = {key: name for key, name in SCORE_NAMES.items() if key in last_scores}
    long = last_scores.rename(columns=names).melt(["strategy", "seed"], list(names.values()), "name", "score")
    return _means_over_seeds("scores_overall", long.assign(boxes=""))


def class_scores(results: Results) -> dict[str, Table]:
    """Return the tables by class, by the score that they show, in the order of the metrics file."""
    by_class = results.class_scores.sort_values("label", kind="stable")
    return {
        key: _means_over_seeds(stem, by_class.rename(columns={key: "score"}))
        for key, stem in CLASS_TABLES.items()
        if key in by_class
    }


def _means_over_seeds(stem: str, scores: pd.DataFrame) -> Table:
    """Return means of scores between 0 and 1, a line for each name and strategy."""
    by_seed = scores.set_index(["name", "boxes", "strategy", "seed"])["score"].unstack("seed", sort=False)
    spreads = {"mean": by_seed.mean(axis=1), "std": by_seed.std(axis=1), "seeds": by_seed.count(axis=1)}
    return Table(stem, pd.DataFrame(spreads).reset_index())


def score_rows(table: Table) -> list[ScoreRow]:
    """Return the lines of such a table for the page."""
    rows = []
    for name, strategy_rows in table.rows.groupby("name", sort=False):
        boxes, spreads = strategy_rows["boxes"].iloc[0], strategy_rows.set_index("strategy")[["mean", "std"]]
        compared = spreads["mean"].drop(FULL_DATA).dropna()
        best = str(compared.idxmax()) if len(compared) > 1 else ""
        rows.append(ScoreRow(str(name), boxes, spreads.T.to_dict(), best))
    return rows
