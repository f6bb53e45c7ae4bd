"""Choosing without near-copies: one image of a group at most, and none of a group with a labelled image."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.selection.pool import one_of_each
from mgral.selection.query import Choice, Query


def images_apart(query: Query) -> npt.NDArray[np.int64]:
    """Return images of the pool, no near-copies of each other or of a labelled one: ids int64 [n], ascending.

    Of each group without a labelled image one is drawn by the seed. `query.groups` is required.
    """
    assert query.groups is not None
    labelled = set(query.labelled.tolist())
    known = [image for group in query.groups if not labelled.isdisjoint(group) for image in group]
    seed = derive_seed(query.seed, "one of each group without a label", query.cycle)
    return one_of_each(np.setdiff1d(query.pool, known), query.groups, seed)


def choose_apart(function: Callable[[Query], Choice], query: Query) -> Choice:
    """Let a strategy choose among the images apart, and what the budget lacks among the others."""
    apart = images_apart(query)
    choices, missing = [], query.budget
    for images in (apart, np.setdiff1d(query.pool, apart)):
        if count := min(missing, len(images)):
            config = query.config.model_copy(update={"budget": count})
            choice = function(replace(query, pool=images, config=config))
            choices.append(replace(choice, rows=np.searchsorted(query.pool, images[choice.rows])))
            missing -= count
    return replace(
        choices[0],
        rows=np.concatenate([one.rows for one in choices]),
        scores=np.concatenate([one.scores for one in choices]),
        forward_passes=sum(one.forward_passes for one in choices),
    )
