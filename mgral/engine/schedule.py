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
    needed_by_job = _needed_by_job(jobs)
    followers: list[list[int]] = [[] for _ in jobs]
    for index, needed in enumerate(needed_by_job):
        for needed_index in needed:
            followers[needed_index].append(index)
    chains = _longest_chains(followers, lengths, needed_by_job)
    waiting = [len(needed) for needed in needed_by_job]
    ready = [(-chains[index], index) for index, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < at_once:
            index = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + lengths[index], index))
        now, ended = heapq.heappop(running)
        for index in followers[ended]:
            waiting[index] -= 1
            if not waiting[index]:
                heapq.heappush(ready, (-chains[index], index))
    return Duration(now, max(chains, default=0.0))


def _needed_by_job(jobs: Sequence[PlannedJob]) -> list[set[int]]:
    """Return the indices of the jobs that each job waits for, [jobs]: those that make its inputs."""
    makers: Mapping[str, int] = {path: index for index, job in enumerate(jobs) for path in job.outputs}
    return [{makers[path] for path in job.inputs if path in makers} for job in jobs]


def _longest_chains(
    followers: Sequence[Sequence[int]], lengths: Sequence[float], needed: Sequence[set[int]]
) -> list[float]:
    """Return of each job the longest sum of lengths from its start to the end of all, [jobs].

    `followers` and `needed` are the indices of the jobs that wait for each job, and of those that it waits for.
    """
    waiting = [len(indices) for indices in followers]
    ends = [index for index, count in enumerate(waiting) if not count]
    chains = list(lengths)
    while ends:
        index = ends.pop()
        chains[index] = lengths[index] + max((chains[follower] for follower in followers[index]), default=0.0)
        for needed_index in needed[index]:
            waiting[needed_index] -= 1
            if not waiting[needed_index]:
                ends.append(needed_index)
    return chains
