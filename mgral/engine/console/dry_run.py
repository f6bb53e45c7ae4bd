"""What `snakemake -n` prints: how many jobs of each step would run, why, and what for."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

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
"""The beginning of each of Snakemake's reasons, in short; the first that holds is the reason."""
VERSION = re.compile(r"version\W+(\d+)")


class DryRun:
    """The jobs of a plan, by rule and reason."""

    def __init__(self, single_jobs: bool) -> None:
        self.single_jobs = single_jobs
        self.counts: Mapping[str, int] = {}
        """Jobs of each rule, in the order of the pipeline; `--quiet` gives these alone."""
        self.reasons: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, rule: str, reason: str, logs: Sequence[str]) -> None:
        """Take a job."""
        self.reasons[rule][self.reason_of(reason, logs)] += 1

    def reason_of(self, text: str, logs: Sequence[str]) -> str:
        """Return in short why a job would run, from Snakemake's reason."""
        reason = next((short for beginning, short in REASONS.items() if beginning in text), text)
        if reason == "settings changed" and len(set(VERSION.findall(text))) > 1:
            return "code version changed"
        return "output missing" if reason == "new" and any(Path(log).exists() for log in logs) else reason

    def lines(self) -> list[str]:
        """Return the table."""
        from mgral.engine.steps import STEPS

        rows = []
        for rule, count in self.counts.items():
            if rule in STEPS:
                why = [reason if n == count else f"{n} {reason}" for reason, n in self.reasons[rule].most_common()]
                rows.append((str(count), rule, ", ".join(why), STEPS[rule].summary))
        step, why_wide = (max((len(row[column]) for row in rows), default=0) for column in (1, 2))
        total = sum(int(count) for count, *_ in rows)
        table = [f"{count:>6}  {rule:<{step}}  {why:<{why_wide}}  {summary}" for count, rule, why, summary in rows]
        hint = [] if self.single_jobs else ["With -p each of them, with its command."]
        return [f"{total} jobs would run:", *table, *hint]
