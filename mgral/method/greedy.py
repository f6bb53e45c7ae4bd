"""Strategies `mgral_greedy*`: the batch with the highest looked-up reward, built image by image without an agent.

Comparing it with `mgral` shows what the agent adds to the tables.

Source
------
Our own baselines, on the tables of `mgral`. What an image adds for its price is the greedy rule of the budgeted
maximum coverage problem (Khuller, Moss, Naor, *Information Processing Letters* 1999).

Formula
-------
The image is added that gives the batch the highest looked-up reward, until the batch is complete. Near-copies come
last, as in `random_no_copies`. If the pool is large, only a random sample of its images is tried each time
(Mirzasoleiman et al. 2015). A learned reward is

    b + mean over classes c of w_c . (x_c(L + B) - x_c(L))

with the features x of labelled images L and batch B (`mgral.method.lut.composition`). It extrapolates, so it can be
above 1. The effect of the number of images is left out, because it is the same for all batches of one size.

With `_per_box` the image is added whose gain in that reward is largest for its price, 1 + its expected boxes. That is
the cost of labelling it, if opening it costs as much as a box. A loss is multiplied by the price. So images are
compared by what they add beyond any other image.

If tables are looked up by distance and agree no better than tables with shuffled values
(`mgral.method.lut.validation`), the batch is random. If a regression is learned from the tables and predicts them no
better than shuffled values, the batch is chosen by the regression's prior, one weight for the first feature of all
classes (`mgral.method.lut.regression`), and `selection.json` says so.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.reward import AnyReward, AnyTables, MeanReward
from mgral.method.lut.validation import NOT_VALID, validate
from mgral.selection.near_copies import choose_near_copies_last
from mgral.selection.query import Choice, NotMade, Query, all_equal, choose_uniformly

Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

TRIED_IMAGES = 1 << 22
"""Most images to try for all places of a batch together, if a regression or an agent scores them."""
TRIED_BY_DISTANCE = 1 << 17
"""Most images in the batches that are looked up by distance for one place.

Each image that is tried makes a batch of its own, together with the images chosen so far.
"""
FEWEST = 20
"""Images to try for a place at least, even if that exceeds the two limits above."""
DRAW = "mgral_greedy random selection"


@register(
    "mgral_greedy",
    "the batch that the lookup tables reward most",
    requires=("embeddings", "counts", "tables", "groups"),
)
def choose(query: Query) -> Choice:
    """Choose one image after the other; its score is the looked-up mAP of the batch up to it."""
    return choose_near_copies_last(lambda part: _choose(part, choose_greedily), query)


@register(
    "mgral_greedy_per_box",
    "the batch that the lookup tables reward most for its boxes",
    requires=("embeddings", "counts", "tables", "groups"),
)
def choose_per_box(query: Query) -> Choice:
    """Choose one image after the other, by what it adds to the looked-up mAP for its expected boxes."""

    def choose_part(part: Query) -> Choice:
        assert part.embeddings is not None
        price = 1 + part.embeddings.counts_of(part.pool).sum(axis=1, dtype=np.float64)
        return _choose(part, partial(choose_by_price, price=price))

    return choose_near_copies_last(choose_part, query)


def _choose(query: Query, greedily: Callable[[AnyReward, int, int, np.random.Generator], Choice]) -> Choice:
    """Choose with a greedy function, or at random where there are no valid tables."""
    tables = query.tables
    if isinstance(tables, NotMade):
        return choose_uniformly(query, DRAW, tables.reason)
    assert isinstance(tables, AnyTables)
    reward = tables.over(query.pool)
    validation = validate(tables, reward, len(query.pool), query.budget, query.seed, query.cycle)
    if validation and not validation.valid:
        return choose_uniformly(query, DRAW, NOT_VALID)
    rng = np.random.default_rng(derive_seed(query.seed, "mgral_greedy", query.cycle))
    choice = greedily(reward, len(query.pool), query.budget, rng)
    return replace(choice, note=tables.note) if isinstance(tables, LearnedTables) else choice


def choose_greedily(reward: AnyReward, pool: int, budget: int, rng: np.random.Generator) -> Choice:
    """Choose `budget` rows of a pool of N images, each time the row that gives the batch the highest reward."""
    return choose_in_turn(reward.with_each, pool, budget, rng, by_distance=isinstance(reward, MeanReward))


def choose_by_price(reward: AnyReward, pool: int, budget: int, rng: np.random.Generator, price: Float64) -> Choice:
    """Choose `budget` rows of a pool of N images, each time by the gain in the reward for a price, float64 [N]."""

    def score(rows: Rows, tried: Rows) -> Float64:
        reward_so_far = reward.lookup(rows[None])[0] if len(rows) else reward.baseline_map
        gains = reward.with_each(rows, tried) - reward_so_far
        return np.where(gains > 0, gains / price[tried], gains * price[tried])

    return choose_in_turn(score, pool, budget, rng, by_distance=isinstance(reward, MeanReward))


def choose_in_turn(
    score: Callable[[Rows, Rows], Float64],
    pool: int,
    budget: int,
    rng: np.random.Generator,
    by_distance: bool = False,
) -> Choice:
    """Choose `budget` rows of a pool of N images, each time the row with the highest score.

    If scores are equal, the first of these rows is taken. The choice is marked as undecided if all images have the
    same score for the first place.

    Parameters
    ----------
    score
        Returns the scores, float64 [n], of n rows, int64 [n], given the rows of the batch so far, int64 [B].
    by_distance
        Whether the time for a score grows with the size of the batch. If so, fewer images are tried for later places.
    """
    remaining = np.arange(pool)
    rows = np.array([], dtype=np.int64)
    best_scores, undecided = [], False
    for place in range(budget):
        limit = TRIED_BY_DISTANCE // (place + 1) if by_distance else TRIED_IMAGES // budget
        count = min(len(remaining), max(FEWEST, limit))
        tried = remaining if count == len(remaining) else np.sort(rng.choice(remaining, count, replace=False))
        scores = score(rows, tried)
        undecided |= place == 0 and all_equal(scores)
        best = int(scores.argmax())
        rows = np.append(rows, tried[best])
        best_scores.append(float(scores[best]))
        remaining = remaining[remaining != tried[best]]
    return Choice(rows, np.array(best_scores), undecided=undecided)
