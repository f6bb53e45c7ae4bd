"""How long a run will take yet, by the times of jobs that are done."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from statistics import median

LEAST = 10
"""Seconds: the least that is told."""


class TimeLeft:
    """The jobs of a run, which waits for which, and how long jobs of each rule take."""

    def __init__(self, jobs: Mapping[int, tuple[str, Iterable[int]]], earlier: Iterable[tuple[str, float]]) -> None:
        """Jobs are a rule and the jobs it waits for, by number; earlier times are of rules, in seconds."""
        self.rules = {number: rule for number, (rule, _) in jobs.items()}
        self.waits = {number: [job for job in before if job in jobs] for number, (_, before) in jobs.items()}
        self.order = list(TopologicalSorter(self.waits).static_order())
        self.earlier: dict[str, list[float]] = defaultdict(list)
        for rule, seconds in earlier:
            self.earlier[rule].append(seconds)
        self.measured: dict[str, list[float]] = defaultdict(list)

    def text(self, running: Mapping[int, float], done: Iterable[int], failed: Iterable[int], at_once: int) -> str:
        """Return `about 3 min left`; `more than` where the times of many are unknown, else an empty text.

        Parameters
        ----------
        running
            Seconds for which each running job runs already.
        done, failed
            Jobs that are not to come; of a failed one neither are those that wait for it.
        at_once
            Jobs that can run side by side.
        """
        times = {rule: self._usual_seconds(rule) for rule in {*self.earlier, *self.measured}}
        ended, lost = set(done), set(failed)
        remaining, chains = [0.0], {0: 0.0}
        unknown = 0
        for number in self.order:
            if lost.intersection((number, *self.waits[number])):
                lost.add(number)
            elif number not in ended:
                unknown += self.rules[number] not in times
                usual = times.get(self.rules[number], 0.0)
                remaining.append(max(0.0, usual - running.get(number, 0.0)))
                start = max((chains.get(job, 0.0) for job in self.waits[number]), default=0.0)
                chains[number] = start + remaining[-1]
        seconds = max(sum(remaining) / at_once, *chains.values())
        if len(remaining) == 1 or (unknown and seconds < LEAST):
            return ""
        how = "more than" if 10 * unknown >= len(remaining) else "about" if seconds > LEAST else "less than"
        return f"{how} {_rounded(seconds)} left"

    def _usual_seconds(self, rule: str) -> float:
        """Return the usual seconds of a rule; a single time of this run may contain the import of torch."""
        measured = self.measured.get(rule, [])
        return median(measured if len(measured) > 1 else [*self.earlier.get(rule, []), *measured])


def duration(seconds: float) -> str:
    """Write seconds as a person reads them: 6.2 s, 3 min 20 s, 2 h 5 min."""
    minutes, rest = divmod(round(seconds), 60)
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _rounded(seconds: float) -> str:
    if seconds < 55:
        return f"{max(LEAST, round(seconds, -1)):.0f} s"
    return f"{round(seconds / 60) or 1} min" if seconds < 3600 else duration(seconds)
