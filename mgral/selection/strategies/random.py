"""Strategies `random*`: every image of the pool is equally likely, or every group of near-copies.

Source
------
Random sampling is the baseline of all comparisons. `random_no_copies` is our own: its difference to `random` is the
gain from only avoiding near-copies.

Formula
-------
The highest of uniform scores in [0, 1). `random_no_copies` chooses at most one image of a group of near-copies, and
none whose group has a labelled image. A group of any size is as likely as an image without copies. If too few images
are left for the budget, the others are drawn from the rest.
"""

import numpy as np

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.selection.near_copies import without_near_copies
from mgral.selection.query import Choice, Query, choose_uniformly


@register("random", "uniform at random")
def choose(query: Query) -> Choice:
    """Choose by seeded uniform scores in [0, 1)."""
    return choose_uniformly(query, "random selection")


@register("random_no_copies", "at random, one image at most of a group of near-copies", requires=("groups",))
def choose_no_copies(query: Query) -> Choice:
    """Choose at random: first images without a near-copy and one image of each unlabelled group, then the others."""
    rng = np.random.default_rng(derive_seed(query.seed, "random selection without copies", query.cycle))
    return Choice.best(np.isin(query.pool, without_near_copies(query)) + rng.random(len(query.pool)), query.budget)
