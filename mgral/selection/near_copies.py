"""Choose near-copies of images last."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.selection.pool import one_of_each
from mgral.selection.query import SAME_SCORES, Choice, Query, choose_uniformly


def without_near_copies(query: Query) -> npt.NDArray[np.int64]:
    """Return images of the pool, no near-copies of each other or of a labelled one: ids int64 [n], ascending.

    Of each group without a labelled image one is drawn by the seed. `query.groups` is required.
    """
    assert query.groups is not None
    labelled = set(query.labelled.tolist())
    near_labelled = [image for group in query.groups if not labelled.isdisjoint(group) for image in group]
    seed = derive_seed(query.seed, "one of each group without a label", query.cycle)
    return one_of_each(np.setdiff1d(query.pool, near_labelled), query.groups, seed)


def choose_near_copies_last(choose: Callable[[Query], Choice], query: Query) -> Choice:
    """Let a strategy choose among images without near-copies, and the rest of the budget among the others."""
    distinct = without_near_copies(query)
    choices, remaining = [], query.budget
    for images in (distinct, np.setdiff1d(query.pool, distinct)):
        if count := min(remaining, len(images)):
            config = query.config.model_copy(update={"budget": count})
            choices.append(_choose_part(choose, replace(query, pool=images, config=config), query.pool))
            remaining -= count
    first, last = choices[0], choices[-1]
    note = f"near-copies follow, drawn at random: {last.reason}" if last.reason else last.note
    return replace(
        first,
        rows=np.concatenate([choice.rows for choice in choices]),
        scores=np.concatenate([choice.scores for choice in choices]),
        forward_passes=sum(choice.forward_passes for choice in choices),
        tied=last.tied,
        note=first.note if first.reason or first.note else note,
    )


def _choose_part(choose: Callable[[Query], Choice], query: Query, pool: npt.NDArray[np.int64]) -> Choice:
    """Return what a strategy chooses of a part of the pool, as rows of the whole pool."""
    choice = choose(query)
    if choice.undecided and query.budget < len(query.pool):
        random_choice = choose_uniformly(query, "undecided among a part of the pool", SAME_SCORES)
        choice = replace(random_choice, forward_passes=choice.forward_passes)
    return replace(choice, rows=np.searchsorted(pool, query.pool[choice.rows]), undecided=False)
