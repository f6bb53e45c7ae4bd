"""k-medoids on a matrix of distances: the k rows that are each in the middle of others like it."""

import numpy as np
import numpy.typing as npt

ROUNDS = 100
"""At most; as in PPAL's published code. A few are enough for the medoids to stay."""


def k_medoids(distances: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Choose k rows: every row goes to the nearest of them, and each is the one nearest to the rows that went to it.

    The two are done in turns until nothing changes, from the k-centre greedy choice that starts with row 0. Of equal
    distances the earlier row, or medoid, counts. A medoid stays with itself, so that k rows come out where rows are
    equal too.

    Parameters
    ----------
    distances
        [N, N], symmetric, finite, not negative, 0 on the diagonal.
    k
        At most N.

    Returns
    -------
    int64 [k], different rows, ascending.
    """
    medoids = _farthest_first(distances, k)
    for _ in range(ROUNDS):
        nearest = distances[:, medoids].argmin(axis=1)
        nearest[medoids] = np.arange(k)
        # Ascending rows, medoid by medoid.
        clusters = np.split(np.argsort(nearest, kind="stable"), np.bincount(nearest, minlength=k).cumsum()[:-1])
        middles = np.array([rows[_middle(distances, rows)] for rows in clusters])
        if (middles == medoids).all():
            break
        medoids = middles
    return np.sort(medoids)


def _farthest_first(distances: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Start with row 0 and add the row farthest from all taken ones, k - 1 times (Gonzalez 1985)."""
    taken = [0]
    nearest = distances[0].copy()
    while len(taken) < k:
        nearest[taken[-1]] = -1
        taken.append(int(nearest.argmax()))
        np.minimum(nearest, distances[taken[-1]], out=nearest)
    return np.array(taken, dtype=np.int64)


def _middle(distances: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> int:
    return int(distances[np.ix_(rows, rows)].sum(axis=1, dtype=np.float64).argmin())
