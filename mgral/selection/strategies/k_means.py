"""Strategy `k_means`: the image nearest to the centre of each of B clusters, where B is the budget.

It needs no label.

Source
------
Pourahmadi, Nooralinejad, Pirsiavash, *A simple baseline for low-budget active learning*, arXiv 2110.12033, 2021.

Formula
-------
k-means with B clusters on the embeddings' principal components of the pool. In each cluster, the largest first, the
image nearest to the mean is chosen.

Differences
-----------
They cluster all images once, on self-supervised features, before any labelling. Here the pool of each cycle is
clustered; labelled images are not used.
"""

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.selection.clusters import cluster
from mgral.selection.query import Choice, Query


@register("k_means", "the image nearest to the centre of each cluster of the embeddings", requires=("embeddings",))
def choose(query: Query) -> Choice:
    """Choose the central image of each cluster, the largest cluster first; scores are the cluster sizes."""
    assert query.embeddings is not None
    pool = query.embeddings.components_of(query.pool)
    if (pool == pool[0]).all():
        return Choice(np.arange(query.budget), np.zeros(query.budget), undecided=True)
    seed = derive_seed(query.seed, "k-means", query.cycle)
    return middles(pool, cluster(pool, query.budget, seed), query.budget)


def middles(pool: npt.NDArray[np.float32], clusters: npt.NDArray[np.int64], budget: int) -> Choice:
    """Choose the image nearest to each cluster's mean, then the second nearest of each, and so on.

    Second ones are needed where images are copies of each other, as then there are fewer clusters than the budget.

    Parameters
    ----------
    pool
        Vectors, float32 [n, D].
    clusters
        Of each image, [n].
    """
    _, clusters, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    centres = np.zeros((len(sizes), pool.shape[1]))
    np.add.at(centres, clusters, pool)
    centres /= sizes[:, None]
    squares = np.square(pool - centres[clusters]).sum(axis=1)
    ranks = np.empty(len(pool), dtype=np.int64)
    for number in range(len(sizes)):
        members = np.flatnonzero(clusters == number)
        ranks[members[np.argsort(squares[members], kind="stable")]] = np.arange(len(members))
    rows = np.lexsort((-sizes[clusters], ranks))[:budget]
    return Choice(rows, sizes[clusters[rows]].astype(np.float64))
