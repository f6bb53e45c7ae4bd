"""How long jobs that wait for each other take, where several run side by side."""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mgral.engine.plan import PlannedJob


class Duration(NamedTuple):
    """How long planned jobs take, in the unit of their lengths."""

    side_by_side: float
    """Until the last has ended, with so many at once."""
    longest_chain: float
    """With any number at once: the longest sum of jobs that wait for each other."""


def schedule(jobs: Sequence[PlannedJob], lengths: Sequence[float], at_once: int) -> Duration:
    """Start jobs as soon as their inputs are there and a place is free, those before the longest chain first.

    With m places, the result is at most 2 - 1/m times the shortest time (Graham, 1966).

    Parameters
    ----------
    jobs
        As Snakemake plans them; an input that none of them makes is there already.
    lengths
        Of each job, [jobs].
    at_once
        Places, at least 1.
    """
    before = _before(jobs)
    after: list[list[int]] = [[] for _ in jobs]
    for job, needed in enumerate(before):
        for needed_job in needed:
            after[needed_job].append(job)
    chains = _chains(after, lengths, before)
    waiting = [len(needed) for needed in before]
    ready = [(-chains[job], job) for job, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < at_once:
            job = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + lengths[job], job))
        now, ended = heapq.heappop(running)
        for job in after[ended]:
            waiting[job] -= 1
            if not waiting[job]:
                heapq.heappush(ready, (-chains[job], job))
    return Duration(now, max(chains, default=0.0))


def _before(jobs: Sequence[PlannedJob]) -> list[set[int]]:
    makers: Mapping[str, int] = {path: job for job, planned_job in enumerate(jobs) for path in planned_job.outputs}
    return [{makers[path] for path in planned_job.inputs if path in makers} for planned_job in jobs]


def _chains(after: Sequence[Sequence[int]], lengths: Sequence[float], before: Sequence[set[int]]) -> list[float]:
    """Return of each job the longest sum of lengths from its start to the end of all, [jobs]."""
    waiting = [len(following) for following in after]
    ends = [job for job, count in enumerate(waiting) if not count]
    chains = list(lengths)
    while ends:
        job = ends.pop()
        chains[job] = lengths[job] + max((chains[following] for following in after[job]), default=0.0)
        for earlier_job in before[job]:
            waiting[earlier_job] -= 1
            if not waiting[earlier_job]:
                ends.append(earlier_job)
    return chains
