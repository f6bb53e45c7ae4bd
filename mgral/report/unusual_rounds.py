"""Rounds in which a strategy did not choose in its usual way, and why: at random, or in another way."""

from typing import Literal, NamedTuple

import pandas as pd

from mgral.report.detectors import ROUND
from mgral.report.drawing import Table
from mgral.report.results import Results

Why = Literal["reason", "note"]
"""Column of the text: of rounds that were drawn at random, or of those chosen in another way."""
STEMS: dict[Why, str] = {"reason": "random_rounds", "note": "noted_rounds"}


class UnusualRounds(NamedTuple):
    """The rounds of a strategy with the same text."""

    strategy: str
    why: str
    rounds: str
    """As text: the cycles, and the seeds where there are several."""


def unusual_rounds_table(results: Results, why: Why) -> Table:
    """Return a row for each of these rounds."""
    by_cycle = results.batches.groupby(["strategy", "cycle"], sort=False)
    rows = pd.concat([cycle_rows for _, cycle_rows in by_cycle]).dropna(subset=why)
    return Table(STEMS[why], rows[[*ROUND, why]])


def unusual_rounds(table: Table, why: Why, several_seeds: bool) -> list[UnusualRounds]:
    """Return the rounds of such a table by strategy and text."""
    return [
        UnusualRounds(
            str(strategy),
            str(text),
            ", ".join(
                f"{cycle} (seed {', '.join(map(str, seeds))})" if several_seeds else f"{cycle}"
                for cycle, seeds in rows.groupby("cycle", sort=False)["seed"]
            ),
        )
        for (strategy, text), rows in table.rows.groupby(["strategy", why], sort=False)
    ]
