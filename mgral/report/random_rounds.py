"""Rounds in which a strategy that chooses otherwise had to choose at random, and why."""

from typing import NamedTuple

import pandas as pd

from mgral.report.detectors import ROUND
from mgral.report.drawing import Table
from mgral.report.results import Results


class RandomRounds(NamedTuple):
    """The rounds of a strategy that were drawn at random for the same reason."""

    strategy: str
    reason: str
    rounds: str
    """As text: the cycles, and the seeds where there are several."""


def random_rounds_table(results: Results) -> Table:
    """Return a row for each of these rounds."""
    by_cycle = results.batches.groupby(["strategy", "cycle"], sort=False)
    rows = pd.concat([of_cycle for _, of_cycle in by_cycle]).dropna(subset="reason")
    return Table("random_rounds", rows[[*ROUND, "reason"]])


def random_rounds(table: Table, several_seeds: bool) -> list[RandomRounds]:
    """Return the rounds of such a table by strategy and reason."""
    return [
        RandomRounds(
            str(strategy),
            str(reason),
            ", ".join(
                f"{cycle} (seed {', '.join(map(str, seeds))})" if several_seeds else f"{cycle}"
                for cycle, seeds in of.groupby("cycle", sort=False)["seed"]
            ),
        )
        for (strategy, reason), of in table.rows.groupby(["strategy", "reason"], sort=False)
    ]
