"""The candidate batches whose looked-up reward is compared with their true gain."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import REASON, read_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import registry
from mgral.errors import InputError
from mgral.method.lut.subsets import cluster, draw_subsets
from mgral.selection.query import Query, choose

PUREST, MOST_MIXED = 0.05, 10.0
"""Dirichlet concentrations of the mixtures over clusters: nearly all of one kind, nearly as the pool."""
AT_RANDOM = ("random", "mixture")
"""Sources of the half that no strategy chooses: a uniform draw of the pool, or a mixture of its clusters."""
STRATEGIES = (
    "sqrt_counts",
    "sqrt_counts_per_box",
    "class_presence",
    "class_presence_per_box",
    "entropy_sum",
    "most_objects",
    "core_set",
    "k_means",
    "mgral_greedy",
)
"""Those that choose the other half, in turn; none needs a head, an agent or anchors."""
SEEN = 2 / 3
"""Part of the pool that a strategy chooses a batch from, so that its batches differ."""


@dataclass(frozen=True)
class Candidate:
    """A batch of the pool; batch 0 is empty."""

    batch: int
    source: str | None
    """Where it comes from: one of `AT_RANDOM`, or the name of a strategy; None of batch 0."""
    images: tuple[int, ...]
    """Ids, ascending."""
    reason: str | None = None
    """Why it was drawn at random, where its strategy could not choose."""

    @property
    def drawn(self) -> bool:
        """Whether it is of the random half."""
        return self.source in AT_RANDOM

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `candidates.json`."""
        because = {REASON: self.reason} if self.reason else {}
        return {"batch": self.batch, "source": self.source, "images": list(self.images), **because}


def draw_candidates(query: Query) -> list[Candidate]:
    """Draw half of the batches at random, and let strategies choose the others; no label of the pool is read.

    Of the random half one half are uniform draws, and the others mixtures over clusters, from batches of similar
    images to mixed ones.

    Parameters
    ----------
    query
        What the strategies know, with all of the pool.

    Returns
    -------
    The empty batch 0, by which gains are measured, and `fidelity.batches` of `budget` images.
    """
    wanted = query.config.fidelity.batches
    drawn = [*_at_random(query, wanted - wanted // 2), *_chosen(query, wanted // 2)]
    return [Candidate(0, None, ()), *(replace(one, batch=number) for number, one in enumerate(drawn, start=1))]


def _at_random(query: Query, count: int) -> Iterator[Candidate]:
    rng = np.random.default_rng(derive_seed(query.seed, "fidelity batches", query.cycle))
    for _ in range(count // 2):
        yield _candidate("random", rng.choice(query.pool, query.budget, replace=False))
    assert query.embeddings is not None
    seed = derive_seed(query.seed, "fidelity clusters", query.cycle)
    assignment = cluster(query.embeddings.components_of(query.pool), query.config.lut.clusters, seed)
    concentrations = np.geomspace(PUREST, MOST_MIXED, count - count // 2).tolist()
    for rows in draw_subsets(assignment, [query.budget] * len(concentrations), concentrations, rng):
        yield _candidate("mixture", query.pool[rows])


def _chosen(query: Query, count: int) -> Iterator[Candidate]:
    """Let those strategies choose, each in turn, that the detector and the tables are enough for."""
    rng = np.random.default_rng(derive_seed(query.seed, "fidelity pools", query.cycle))
    seen = max(query.budget, round(SEEN * len(query.pool)))
    for name in islice(cycle(filter(lambda name: _serves(query, name), STRATEGIES)), count):
        pool = np.sort(rng.choice(query.pool, seen, replace=False))
        choice = choose(name, replace(query, pool=pool))
        yield _candidate(name, pool[choice.rows], choice.reason)


def _serves(query: Query, strategy: str) -> bool:
    info = registry.strategy(strategy)
    enough = query.config.detector.lacks(info.requires, info.views) is None
    return enough and (query.tables is not None or not info.needs_tables)


def _candidate(source: str, images: npt.NDArray[np.int64], reason: str | None = None) -> Candidate:
    return Candidate(0, source, tuple(sorted(images.tolist())), reason)


def load_candidates(path: Path) -> list[Candidate]:
    """Read `candidates.json`; raises InputError where it is not one."""
    content = read_json(path)
    try:
        found = [
            Candidate(one["batch"], one["source"], tuple(one["images"]), one.get(REASON))
            for one in content["batches"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not contain batches ({error}); run the step `candidates` again") from None
    if [one.batch for one in found] != list(range(len(found))) or not found or found[0].images:
        raise InputError(
            f"{path} does not contain an empty batch 0 and batches 1..M; run the step `candidates` again"
        )
    return found
