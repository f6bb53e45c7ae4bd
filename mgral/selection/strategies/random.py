"""Strategy `random`: every batch of the pool is equally likely."""

import numpy as np

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.selection.query import Choice, Query


@register("random", "uniform at random")
def choose(query: Query) -> Choice:
    """Choose by seeded uniform scores in [0, 1)."""
    return choose_uniformly(query, "random selection")


def choose_uniformly(query: Query, purpose: str) -> Choice:
    """Choose by uniform scores in [0, 1) that are others for each purpose, seed and cycle."""
    rng = np.random.default_rng(derive_seed(query.seed, purpose, query.cycle))
    return Choice.best(rng.random(len(query.pool)), query.budget)
