"""Strategy `core_set`: images chosen so that no image of the pool is far from a labelled one.

Source
------
Sener and Savarese, *Active learning for convolutional neural networks: a core-set approach*, ICLR 2018, algorithm 1
(k-centre greedy).

Formula
-------
The next image is the one whose distance to the nearest labelled or chosen image is largest. Distances are Euclidean
between the principal components of the backbone's features.

Differences
-----------
Their robust variant, which solves a mixed integer program for the outliers, is left out, as in most comparisons. If
only images equal to labelled ones are left, published code (google/active-learning) chooses the same row again; here
the other images are chosen.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mgral.config.registry import register
from mgral.selection.query import Choice, Query, drawn_order

Distances = Callable[[int], npt.NDArray[np.float64]]


@register("core_set", "k-centre greedy on the embeddings", requires=("embeddings",))
def choose(query: Query) -> Choice:
    """Choose one image after the other: each time the one farthest from all labelled and chosen ones."""
    assert query.embeddings is not None
    components = query.embeddings.components_of
    return k_centre_greedy(components(query.pool), components(query.labelled), query.budget)


def k_centre_greedy(pool: npt.NDArray[np.float32], labelled: npt.NDArray[np.float32], budget: int) -> Choice:
    """Choose from vectors [n, D] beside labelled ones [m, D]; scores are the distances at the time of choice."""
    centres = np.concatenate([pool, labelled])

    def distances(centre: int) -> npt.NDArray[np.float64]:
        squares: npt.NDArray[np.float64] = np.square(pool - centres[centre].astype(np.float64)).sum(axis=1)
        return np.sqrt(squares)

    return farthest_first(np.full(len(pool), np.inf), distances, len(labelled), budget)


def farthest_first(start: npt.NDArray[np.float64], distances: Distances, labelled: int, budget: int) -> Choice:
    """Choose one image after the other, each time the one farthest from the nearest that is labelled or chosen.

    Parameters
    ----------
    start
        float64 [n], from which the distance of each image of the pool to its nearest comes down; not negative.
    distances
        Returns the distances of the pool, float64 [n], to one image: those of the pool are numbered from 0, the
        labelled ones from n.
    labelled
        How many are labelled.

    Returns
    -------
    Of equally far images the first by `drawn_order`; scores are the distances at the time of choice. Undecided where
    no image is apart from those labelled.
    """
    nearest = start.copy()
    for centre in range(len(start), len(start) + labelled):
        np.minimum(nearest, distances(centre), out=nearest)
    undecided = bool((nearest == 0).all())
    order = drawn_order(len(start))
    rows, scores = [], []
    for _ in range(budget):
        row = int(order[nearest[order].argmax()])
        rows.append(row)
        scores.append(float(nearest[row]))
        np.minimum(nearest, distances(row), out=nearest)
        nearest[rows] = -1
    return Choice(np.array(rows, dtype=np.int64), np.array(scores), undecided=undecided)
