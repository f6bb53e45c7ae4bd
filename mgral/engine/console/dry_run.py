"""What `snakemake -n` prints: how many jobs of each step would run, why, and what for."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from mgral.engine.steps import STEPS
from mgral.errors import number_of

REASONS = {
    "Forced": "forced",
    "Params have changed": "settings changed",
    "Code has changed": "command changed",
    "Missing output": "new",
    "Incomplete output": "was interrupted",
    "Updated input": "input changed",
    "Set of input": "other inputs",
    "Input files updated": "input will change",
}
"""What each of Snakemake's reasons contains, in short; the first that is found is the reason."""
VERSION = re.compile(r"version\W+(\d+)")


def reason_of(text: str, logs: Sequence[str]) -> str:
    """Return in short why a job would run, from Snakemake's reason; where it has a log, it ran before."""
    reason = next((short for part, short in REASONS.items() if part in text), text)
    if reason == "settings changed" and len(set(VERSION.findall(text))) > 1:
        return "code version changed"
    return "output missing" if reason == "new" and any(Path(log).exists() for log in logs) else reason


class DryRun:
    """The jobs of a plan, by rule and reason."""

    def __init__(self) -> None:
        self.counts: Mapping[str, int] = {}
        """Jobs of each rule, in the order of the pipeline; `--quiet` gives these alone."""
        self.reasons: dict[str, Counter[str]] = defaultdict(Counter)

    def lines(self) -> list[str]:
        """Return the table."""
        rows = []
        for rule, planned in self.counts.items():
            # Of `--until` and the like Snakemake (9.27) counts the jobs behind it too, and names those of the plan.
            count = self.reasons[rule].total() if self.reasons else planned
            if rule in STEPS and count:
                reasons = [
                    reason if n == count else f"{reason} ({n})" for reason, n in self.reasons[rule].most_common()
                ]
                rows.append((str(count), rule, ", ".join(reasons), STEPS[rule].summary))
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
        table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return [
            f"{number_of(sum(int(count) for count, *_ in rows), 'job')} would run:",
            *(f"  {line}" for line in table),
        ]
