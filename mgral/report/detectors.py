"""The detectors of an experiment, their labels and scores: what curves, rankings and labels needed are made of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mgral.config import Config
from mgral.report.drawing import Table
from mgral.report.styles import baseline_of

Array = npt.NDArray[np.float64]
ROUND = ["strategy", "cycle", "seed"]
"""Columns that name a round of a strategy."""
FULL_DATA = "all labels"
"""Name of the detector trained on all labels, which no instance can have, as it contains a blank."""
TABLE = "detectors"
"""Stem of the table's file."""


@dataclass(frozen=True)
class DetectorScores:
    """The scores of all detectors, in the order of the configuration: strategy, seed, cycle.

    Scores are those on the test images, 0 to 1, and NaN where there are no boxes to score.
    """

    config: Config
    """Its seeds are those of the rows."""
    rounds: pd.DataFrame
    """A row for each detector: `ROUND`, labelled images, the boxes in them as a budget counts them, and scores."""
    full: pd.DataFrame
    """The full-data detector of each seed: strategy (`FULL_DATA`), seed, images and boxes, and scores."""

    @property
    def baseline(self) -> str | None:
        """The instance that others are compared with: the first of type random; None without one."""
        return baseline_of(self.config)

    def curve(self, strategy: str, column: str) -> Array:
        """Return a column of `rounds` as [seeds, cycles + 1]."""
        values = self.rounds.loc[self.rounds["strategy"] == strategy, column]
        return values.to_numpy(np.float64).reshape(len(self.config.seeds), -1)


def detectors_table(scores: DetectorScores) -> Table:
    """Return a row for each detector, those of all labels last and without a cycle."""
    columns = list(scores.rounds.columns)
    full = scores.full.assign(cycle=np.nan)[columns]
    rows = pd.concat([scores.rounds.astype({"cycle": object}), full.astype({"cycle": object})])
    return Table(TABLE, rows)


def scores_of(tables: Sequence[pd.DataFrame], config: Config) -> DetectorScores:
    """Return the scores in the rows of `detectors_table`, read from files of different seeds of one experiment."""
    rows = pd.concat(tables)
    seeds = tuple(sorted(rows["seed"].unique().tolist()))
    order = {name: position for position, name in enumerate([*config.strategies, FULL_DATA])}
    rows = rows.sort_values(
        ["strategy", "seed", "cycle"], key=lambda column: column.map(order) if column.name == "strategy" else column
    )
    full = rows["strategy"] == FULL_DATA
    rounds = rows[~full].astype({"cycle": int})
    return DetectorScores(config.model_copy(update={"seeds": seeds}), rounds, rows[full].drop(columns="cycle"))
