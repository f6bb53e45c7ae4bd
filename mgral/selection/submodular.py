"""Batches that are chosen one image after the other, by gains that never rise as the batch grows.

The gains of a submodular function are such. Where the function also never falls, the batch is worth at least 1 - 1/e
of the best one (Nemhauser, Wolsey, Fisher, *An analysis of approximations for maximizing submodular set functions*,
1978).
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mgral.selection.query import Choice, all_equal, drawn_order

FIRST = 16
"""Images whose gains are computed again for a choice; twice as many each time that they were too few."""

Rows = npt.NDArray[np.int64]
Gains = Callable[[Rows], npt.NDArray[np.float64]]


def greedy(gains: Gains, add: Callable[[int], None], images: int, budget: int) -> Choice:
    """Choose each time the image with the largest gain on top of those chosen before.

    A gain of an earlier time is a bound, so only the images with the highest ones are computed again (Minoux,
    *Accelerated greedy algorithms for maximizing submodular set functions*, 1978).

    Parameters
    ----------
    gains
        Returns the present gains of rows of the pool, float64 [m] for int64 [m].
    add
        Adds a row to the batch, after which gains are at most as large.
    images
        How many the pool has.

    Returns
    -------
    Of equal gains in the order of `drawn_order`; scores are the gains at the time of choice. Undecided where the
    gains of all images are equal at first.
    """
    order = drawn_order(images)
    bounds = gains(np.arange(images))[order]
    undecided = all_equal(bounds)
    chosen = np.zeros(images, dtype=bool)
    rows, scores = [], []
    for _ in range(budget):
        up_to_date, count = chosen.copy(), FIRST
        while not up_to_date[best := int(bounds.argmax())]:
            outdated = np.flatnonzero(~up_to_date)
            count = min(count, len(outdated))
            recomputed = outdated[np.argpartition(-bounds[outdated], count - 1)[:count]]
            bounds[recomputed] = gains(order[recomputed])
            up_to_date[recomputed] = True
            count *= 2
        rows.append(int(order[best]))
        scores.append(float(bounds[best]))
        add(rows[-1])
        chosen[best], bounds[best] = True, -np.inf
    # Gains never rise, so those of the images left are as low.
    tied = scores.count(0) if budget < images else 0
    return Choice(np.array(rows, dtype=np.int64), np.array(scores), undecided=undecided, tied=tied)
