"""How long a run will take yet, by the times of jobs that are done."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from graphlib import TopologicalSorter
from statistics import fmean

LEAST = 10
"""Seconds: the least that is told."""


class TimeLeft:
    """The jobs of a run, which waits for which, and how long jobs of each rule take."""

    def __init__(self, jobs: Mapping[int, tuple[str, Iterable[int]]], earlier: Iterable[tuple[str, float]]) -> None:
        """Jobs are a rule and the jobs it waits for, by number; earlier times are of rules, in seconds."""
        self.rules = {number: rule for number, (rule, _) in jobs.items()}
        self.waits = {number: tuple(before) for number, (_, before) in jobs.items()}
        self.order = [number for number in TopologicalSorter(self.waits).static_order() if number in jobs]
        self.earlier = _by_rule(earlier)
        self.measured: dict[str, list[float]] = defaultdict(list)
        self.ended: set[int] = set()
        self.failed: set[int] = set()

    def finish(self, number: int, seconds: float | None) -> None:
        """Note that a job is done, and the seconds that it took, if they are known."""
        self.ended.add(number)
        if seconds is not None and number in self.rules:
            self.measured[self.rules[number]].append(seconds)

    def text(self, running: Mapping[int, float], at_once: int) -> str:
        """Return `about 3 min left`, or `more than ...` where a rule has never run; empty where nothing is known.

        Parameters
        ----------
        running
            Seconds for which each running job runs already.
        at_once
            Jobs that can run side by side.
        """
        takes = self.earlier | self.measured
        lost = set(self.failed)
        alone: dict[int, float] = {}
        chain: dict[int, float] = {}
        unknown = False
        for number in self.order:  # jobs that others wait for come first
            if lost.intersection(self.waits[number]):
                lost.add(number)
            if number in lost or number in self.ended:
                continue
            unknown |= self.rules[number] not in takes
            usual = fmean(takes.get(self.rules[number], [0.0]))
            alone[number] = max(0.0, usual - running.get(number, 0.0))
            before = max((chain.get(other, 0.0) for other in self.waits[number]), default=0.0)
            chain[number] = before + alone[number]
        seconds = max([sum(alone.values()) / at_once, *chain.values()])
        if not alone or (unknown and seconds < LEAST):
            return ""
        how = "more than" if unknown else "about" if seconds > LEAST else "less than"
        return f"{how} {_rounded(seconds)} left"


def duration(seconds: float) -> str:
    """Write seconds as a person reads them: 6.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _rounded(seconds: float) -> str:
    if seconds < 55:
        return f"{max(LEAST, round(seconds, -1)):.0f} s"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _by_rule(times: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for rule, seconds in times:
        found[rule].append(seconds)
    return dict(found)
