"""The candidate batches: their looked-up rewards are compared with their measured gains."""

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
from mgral.method.lut.subsets import draw_subsets
from mgral.selection.clusters import cluster
from mgral.selection.query import Query
from mgral.selection.selecting import choose

PUREST, MOST_MIXED = 0.05, 10.0
"""Dirichlet concentrations of the mixtures over clusters: from nearly a single cluster to nearly a uniform draw."""
AT_RANDOM = ("random", "mixture")
"""Sources of the batches that no strategy chooses: uniform draws from the pool, and mixtures of its clusters."""
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
"""Strategies that choose the other half of the batches, in turn. None of them needs a head, an agent or anchors."""
POOL_FRACTION = 2 / 3
"""Fraction of the pool, drawn anew for each batch, that a strategy may choose from; so its batches differ."""


@dataclass(frozen=True)
class Candidate:
    """A batch of the pool; batch 0 is empty."""

    batch: int
    source: str | None
    """How the batch was made: one of `AT_RANDOM`, or the name of a strategy; None for batch 0."""
    images: tuple[int, ...]
    """Ids of the images, ascending."""
    reason: str | None = None
    """Why the batch was drawn at random, if its strategy could not choose."""

    @property
    def drawn(self) -> bool:
        """Whether the batch belongs to the random half."""
        return self.source in AT_RANDOM

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `candidates.json`."""
        reason = {REASON: self.reason} if self.reason else {}
        return {"batch": self.batch, "source": self.source, "images": list(self.images), **reason}


def draw_candidates(query: Query) -> list[Candidate]:
    """Draw half of the batches at random and let strategies choose the other half, without labels of the pool.

    Half of the random batches are uniform draws. The others are mixtures over clusters, ranging from batches of
    similar images to mixed batches.

    Parameters
    ----------
    query
        The query that strategies receive, with the complete pool.

    Returns
    -------
    The empty batch 0, whose mAP is subtracted to compute gains, and `fidelity.batches` batches of `budget` images.
    """
    count = query.config.fidelity.batches
    candidates = [*_at_random(query, count - count // 2), *_chosen(query, count // 2)]
    return [
        Candidate(0, None, ()),
        *(replace(candidate, batch=number) for number, candidate in enumerate(candidates, start=1)),
    ]


def _at_random(query: Query, count: int) -> Iterator[Candidate]:
    rng = np.random.default_rng(derive_seed(query.seed, "fidelity batches", query.cycle))
    for _ in range(count // 2):
        yield _candidate("random", rng.choice(query.pool, query.budget, replace=False))
    assert query.embeddings is not None
    seed = derive_seed(query.seed, "fidelity clusters", query.cycle)
    assignment = cluster(query.embeddings.components_of(query.pool), query.config.lut.clusters, seed, starts=4)
    concentrations = np.geomspace(PUREST, MOST_MIXED, count - count // 2).tolist()
    for rows in draw_subsets(assignment, [query.budget] * len(concentrations), concentrations, rng):
        yield _candidate("mixture", query.pool[rows])


def _chosen(query: Query, count: int) -> Iterator[Candidate]:
    """Let strategies choose in turn, leaving out those whose requirements the detector and the tables do not meet."""
    rng = np.random.default_rng(derive_seed(query.seed, "fidelity pools", query.cycle))
    size = max(query.budget, round(POOL_FRACTION * len(query.pool)))
    for name in islice(cycle(filter(lambda name: _serves(query, name), STRATEGIES)), count):
        pool = np.sort(rng.choice(query.pool, size, replace=False))
        choice = choose(name, replace(query, pool=pool))
        yield _candidate(name, pool[choice.rows], choice.reason)


def _serves(query: Query, strategy: str) -> bool:
    info = registry.strategy(strategy)
    detector_suffices = query.config.detector.lacks(info.requires, info.views) is None
    return detector_suffices and (query.tables is not None or not info.needs_tables)


def _candidate(source: str, images: npt.NDArray[np.int64], reason: str | None = None) -> Candidate:
    return Candidate(0, source, tuple(sorted(images.tolist())), reason)


def load_candidates(path: Path) -> list[Candidate]:
    """Read `candidates.json`; raises InputError if the file is not valid."""
    content = read_json(path)
    try:
        batches = [
            Candidate(entry["batch"], entry["source"], tuple(entry["images"]), entry.get(REASON))
            for entry in content["batches"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not contain batches ({error}); run the step `candidates` again") from None
    if [batch.batch for batch in batches] != list(range(len(batches))) or not batches or batches[0].images:
        raise InputError(
            f"{path} does not contain an empty batch 0 and batches 1..M; run the step `candidates` again"
        )
    return batches
