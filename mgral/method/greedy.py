"""Strategy `mgral_greedy`: the batch that the lookup tables reward most, image by image and without an agent.

The difference of `mgral` and this is what an agent adds to its tables.

Source
------
Our own baseline, on the tables of `mgral`.

Formula
-------
Each time the image is added with which the looked-up reward of the batch is highest. Of a large pool some images are
tried that are drawn at random (Mirzasoleiman et al. 2015).

Where tables are looked up by distances and agree no better than shuffled ones (`mgral.method.lut.validation`), the
batch is random. Where a regression is learned from them that is no better than one of shuffled values, the batch is
chosen by its prior (`mgral.method.lut.regression`).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.method.lut.reward import AnyReward, AnyTables, MeanReward
from mgral.method.lut.validation import NOT_VALID, validate
from mgral.selection.query import Choice, NotMade, Query, all_equal, choose_uniformly

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TRIED_IMAGES = 1 << 22
"""Images that are tried for all places of a batch together, by a regression or an agent."""
LOOKED_UP_IMAGES = 1 << 17
"""Images in all batches that are looked up for one place by distances: the images so far, and each that is tried."""
FEWEST = 20
"""Least images tried for a place."""
DRAW = "mgral_greedy random selection"


@register("mgral_greedy", "the batch that the lookup tables reward most", requires=("embeddings", "counts", "tables"))
def choose(query: Query) -> Choice:
    """Choose one image after the other; scores are the looked-up mAP of the batch up to each, 0 to 1."""
    tables = query.tables
    if isinstance(tables, NotMade):
        return choose_uniformly(query, DRAW, tables.reason)
    assert isinstance(tables, AnyTables)
    reward = tables.over(query.pool)
    validation = validate(tables, reward, len(query.pool), query.budget, query.seed, query.cycle)
    if validation and not validation.valid:
        return choose_uniformly(query, DRAW, NOT_VALID)
    rng = np.random.default_rng(derive_seed(query.seed, "mgral_greedy", query.cycle))
    return choose_greedily(reward, len(query.pool), query.budget, rng)


def choose_greedily(reward: AnyReward, pool: int, budget: int, rng: np.random.Generator) -> Choice:
    """Choose `budget` rows of a pool of N images, each time the one with which the batch is worth most."""
    return choose_in_turn(reward.with_each, pool, budget, rng, by_distance=isinstance(reward, MeanReward))


def choose_in_turn(
    score: Callable[[Rows, Rows], Float64],
    pool: int,
    budget: int,
    rng: np.random.Generator,
    by_distance: bool = False,
) -> Choice:
    """Choose `budget` rows of a pool of N images, each time the one of the highest score, in float64.

    Of equal ones the earlier is taken. Undecided where the first place makes no difference.

    Parameters
    ----------
    score
        Returns the scores, [n], of rows that are tried, int64 [n], given the batch so far, rows int64 [B].
    by_distance
        Whether a score takes as long as the batch is large.
    """
    left = np.arange(pool)
    rows = np.array([], dtype=np.int64)
    found, undecided = [], False
    for place in range(budget):
        most = LOOKED_UP_IMAGES // (place + 1) if by_distance else TRIED_IMAGES // budget
        count = min(len(left), max(FEWEST, most))
        tried = left if count == len(left) else np.sort(rng.choice(left, count, replace=False))
        scores = score(rows, tried)
        undecided |= place == 0 and all_equal(scores)
        best = int(scores.argmax())
        rows = np.append(rows, tried[best])
        found.append(float(scores[best]))
        left = left[left != tried[best]]
    return Choice(rows, np.array(found), undecided=undecided)
