"""Strategy `mgral_greedy`: the batch that the lookup tables reward most, image by image and without an agent.

The difference of `mgral` and this is what an agent adds to its tables.

Source
------
Our own baseline, on the tables of `mgral`.

Formula
-------
Each time the image is added with which the looked-up reward of the batch is highest.

Where tables look up amounts, the free places of the batch count as images without objects. With slopes that are not
negative the reward is then monotone and submodular, and the batch gains at least 1 - 1/e of what the best gains
(Nemhauser, Wolsey and Fisher 1978). Where they look up distances, the images chosen so far are looked up, with each
of some images of the pool that are drawn at random (Mirzasoleiman et al. 2015), as a look-up takes long.

Tables that agree no better than shuffled ones (`mgral.method.lut.validation`) choose nothing: the batch is random.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.method.lut.reward import LookupTable, MeanReward, PoolReward
from mgral.method.lut.validation import NOT_VALID, validate_tables
from mgral.selection.query import Choice, NotMade, Query, all_equal, choose_uniformly

LOOKED_UP_IMAGES = 1 << 17
"""Images in all batches that are looked up for one place: the images so far, and each that is tried."""
FEWEST = 20
"""Least images tried for a place."""
DRAW = "mgral_greedy random selection"

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@register("mgral_greedy", "the batch that the lookup tables reward most", requires=("embeddings", "counts", "tables"))
def choose(query: Query) -> Choice:
    """Choose one image after the other; scores are the looked-up mAP of the batch up to each, 0 to 1."""
    tables = query.tables
    if isinstance(tables, NotMade):
        return choose_uniformly(query, DRAW, tables.reason)
    assert isinstance(tables, LookupTable)
    reward = tables.over(tables.features_of(query.pool))
    place = len(query.pool), query.budget, query.seed, query.cycle
    validation = validate_tables(reward.rewards, *place)
    if validation and not validation.valid:
        return choose_uniformly(query, DRAW, NOT_VALID)
    rng = np.random.default_rng(derive_seed(query.seed, "mgral_greedy", query.cycle))
    return choose_greedily(reward, len(query.pool), query.budget, rng)


def choose_greedily(reward: MeanReward, pool: int, budget: int, rng: np.random.Generator) -> Choice:
    """Choose `budget` rows of a pool of N images, each time the one with which the batch is worth most.

    Of equal ones the earlier is taken. Undecided where the first place makes no difference.
    """
    if all(table.by_amount for table in reward.rewards):
        return _by_amounts(reward.rewards, pool, budget)
    return _by_lookups(reward, pool, budget, rng)


def _by_amounts(tables: Sequence[PoolReward], pool: int, budget: int) -> Choice:
    of_images = [table.describe(np.arange(pool)[:, None]) / budget for table in tables]
    so_far = [np.zeros(one.shape[1]) for one in of_images]
    left = np.ones(pool, dtype=bool)
    rows, scores, undecided = [], [], False
    for place in range(budget):
        described = [total + one for total, one in zip(so_far, of_images, strict=True)]
        worth = np.mean([one.worth(given, one.values) for one, given in zip(tables, described, strict=True)], axis=0)
        undecided |= place == 0 and all_equal(worth)
        row = int(np.where(left, worth, -np.inf).argmax())
        rows.append(row)
        scores.append(float(worth[row]))
        left[row] = False
        so_far = [given[row] for given in described]
    return Choice(np.array(rows, dtype=np.int64), np.array(scores), undecided=undecided)


def _by_lookups(reward: MeanReward, pool: int, budget: int, rng: np.random.Generator) -> Choice:
    left = np.arange(pool)
    rows: list[int] = []
    scores, undecided = [], False
    for place in range(budget):
        count = min(len(left), max(FEWEST, LOOKED_UP_IMAGES // (place + 1)))
        tried = left if count == len(left) else np.sort(rng.choice(left, count, replace=False))
        batches = np.column_stack([np.tile(np.array(rows, dtype=np.int64), (count, 1)), tried])
        worth = reward.lookup(batches)
        undecided |= place == 0 and all_equal(worth)
        best = int(worth.argmax())
        rows.append(int(tried[best]))
        scores.append(float(worth[best]))
        left = left[left != tried[best]]
    return Choice(np.array(rows, dtype=np.int64), np.array(scores), undecided=undecided)
