"""Rounds in which a strategy that chooses otherwise had to choose at random, and why."""

from collections import defaultdict
from typing import NamedTuple

from mgral.report.drawing import Table
from mgral.report.results import Results


class RandomRounds(NamedTuple):
    """The rounds of a strategy that were drawn at random for the same reason."""

    strategy: str
    reason: str
    rounds: str
    """As text: the cycles, and the seeds where there are several."""


def random_rounds(results: Results) -> list[RandomRounds]:
    """Return the rounds with a reason, by strategy, in the order of the configuration."""
    seeds: dict[tuple[str, str], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in random_rounds_table(results).rows:
        seeds[str(row["strategy"]), str(row["reason"])][int(str(row["cycle"]))].append(int(str(row["seed"])))
    several = len(results.config.seeds) > 1
    return [
        RandomRounds(
            strategy,
            reason,
            ", ".join(
                f"{cycle} (seed {', '.join(map(str, of))})" if several else f"{cycle}" for cycle, of in cycles.items()
            ),
        )
        for (strategy, reason), cycles in seeds.items()
    ]


def random_rounds_table(results: Results) -> Table:
    """Return a row for each of these rounds."""
    config = results.config
    rows = tuple(
        {"strategy": strategy, "cycle": cycle, "seed": seed, "reason": reason}
        for strategy in config.strategies
        for cycle in range(config.cycles)
        for seed in config.seeds
        if (reason := results.selections[seed, strategy, cycle].reason)
    )
    return Table("random_rounds", ("strategy", "cycle", "seed", "reason"), rows)
