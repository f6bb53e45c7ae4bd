"""The candidate batches whose looked-up reward is compared with their true gain."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_json
from mgral.artefacts.seeds import derive_seed
from mgral.errors import InputError
from mgral.method.lut.subsets import Rows, cluster, draw_subsets
from mgral.selection.embeddings import Embeddings

PUREST, MOST_MIXED = 0.05, 10.0
"""Dirichlet concentrations of the mixtures over clusters: nearly all of one kind, nearly as the pool."""


@dataclass(frozen=True)
class Candidate:
    """A batch of the pool, drawn as a mixture of its clusters; batch 0 is empty."""

    batch: int
    concentration: float | None
    images: tuple[int, ...]
    """Ids, ascending."""

    def to_json(self) -> dict[str, Any]:
        """Return the entry of `candidates.json`."""
        return {"batch": self.batch, "concentration": self.concentration, "images": list(self.images)}


def draw_candidates(
    pool: Rows, embeddings: Embeddings, clusters: int, batches: int, budget: int, seed: int, cycle: int
) -> list[Candidate]:
    """Draw batches of the pool, from ids alone: from batches of similar images to random batches.

    Parameters
    ----------
    pool
        Ids of the unlabelled images.
    clusters
        k-means clusters that the batches are mixtures of.

    Returns
    -------
    The empty batch 0, by which gains are measured, and `batches` of `budget` images.
    """
    assignment = cluster(embeddings.components_of(pool), clusters, derive_seed(seed, "fidelity clusters", cycle))
    rng = np.random.default_rng(derive_seed(seed, "fidelity batches", cycle))
    candidates = [Candidate(0, None, ())]
    for number, concentration in enumerate(np.geomspace(PUREST, MOST_MIXED, batches).tolist(), start=1):
        (rows,) = draw_subsets(assignment, [budget], [concentration], rng)
        candidates.append(Candidate(number, concentration, tuple(sorted(pool[rows].tolist()))))
    return candidates


def load_candidates(path: Path) -> list[Candidate]:
    """Read `candidates.json`; raises InputError where it is not one."""
    content = read_json(path)
    try:
        found = [Candidate(one["batch"], one["concentration"], tuple(one["images"])) for one in content["batches"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold batches ({error}); run the step `candidates` again") from None
    if [one.batch for one in found] != list(range(len(found))) or not found or found[0].images:
        raise InputError(f"{path} does not hold an empty batch 0 and batches 1..M; run the step `candidates` again")
    return found
