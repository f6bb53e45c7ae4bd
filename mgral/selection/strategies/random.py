"""Strategy `random`: every batch of the pool is equally likely."""

from mgral.config.registry import register
from mgral.selection.query import Choice, Query, choose_uniformly


@register("random", "uniform at random")
def choose(query: Query) -> Choice:
    """Choose by seeded uniform scores in [0, 1)."""
    return choose_uniformly(query, "random selection")
