"""Strategy `typiclust`: the most typical image of each of the largest clusters that have no label.

It needs no label, so it chooses the first batch of a project.

Source
------
Hacohen, Dekel, Weinshall, *Active learning on a budget: opposite strategies suit high and low budgets*, ICML 2022,
algorithm 1 and appendix F.1.

Formula
-------
The typicality of an image is

    1 / (mean distance to its nearest neighbours in the cluster + 1e-5)

As in the published code, the number of clusters is the number of labelled images and images to choose, at most 500,
by k-means (mini-batch k-means for more than 50). Clusters with the fewest labels come first, and among these the
largest. The neighbours of an image are the nearest min(20, n // 2) of the n unlabelled images that are left in its
cluster.

Differences
-----------
The paper clusters self-supervised features. Here these are the embeddings' principal components; without labels,
those of the backbone's published weights. Clusters of five images or fewer come last. The published code leaves them
out, which would choose too few images from a small pool.
"""

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.selection.clusters import cluster
from mgral.selection.query import Choice, Query

MOST_CLUSTERS = 500
NEIGHBOURS = 20
"""Whose mean distance says how typical an image is."""
SMALL = 5
"""Images of a cluster that is too small to be one."""
NEAREST = 1e-5
"""Added to distances, as in the published code: copies have none."""

Vectors = npt.NDArray[np.float32]


@register("typiclust", "the most typical image of each large cluster without a label", requires=("embeddings",))
def choose(query: Query) -> Choice:
    """Choose one image of a cluster after the other; scores are their typicalities."""
    assert query.embeddings is not None
    pool, labelled = (query.embeddings.components_of(ids) for ids in (query.pool, query.labelled))
    if (pool == pool[0]).all():
        return Choice(np.arange(query.budget), np.zeros(query.budget), undecided=True)
    seed = derive_seed(query.seed, "typiclust", query.cycle)
    count = min(len(labelled) + query.budget, MOST_CLUSTERS)
    clusters = cluster(np.concatenate([pool, labelled]), count, seed)
    return typical_of_clusters(pool, clusters[: len(pool)], clusters[len(pool) :], query.budget)


def typical_of_clusters(
    pool: Vectors, pool_clusters: npt.NDArray[np.int64], labelled_clusters: npt.NDArray[np.int64], budget: int
) -> Choice:
    """Choose the most typical image of one cluster after the other, as often around as it takes.

    Parameters
    ----------
    pool
        Vectors [n, D].
    pool_clusters, labelled_clusters
        Clusters of the pool, [n], and of the labelled images, [m].
    """
    count = int(max(pool_clusters.max(), labelled_clusters.max(initial=0))) + 1
    labelled_counts = np.bincount(labelled_clusters, minlength=count)
    sizes = np.bincount(pool_clusters, minlength=count) + labelled_counts
    remaining = [np.flatnonzero(pool_clusters == number) for number in range(count)]
    rows: list[int] = []
    scores: list[float] = []
    while len(rows) < budget:
        for number in np.lexsort((-sizes, labelled_counts, sizes <= SMALL)).tolist():
            if len(remaining[number]) and len(rows) < budget:
                typicalities = typicality(pool[remaining[number]])
                best = int(typicalities.argmax())
                rows.append(int(remaining[number][best]))
                scores.append(float(typicalities[best]))
                remaining[number] = np.delete(remaining[number], best)
    return Choice(np.array(rows, dtype=np.int64), np.array(scores))


def typicality(vectors: Vectors) -> npt.NDArray[np.float64]:
    """Return the inverse of the mean distance of each vector [n, D] to its nearest others, float64 [n]."""
    count = min(NEIGHBOURS, len(vectors) // 2)
    if count == 0:
        return np.ones(len(vectors))
    with threadpool_limits(limits=1):
        distances, _ = NearestNeighbors(n_neighbors=count + 1).fit(vectors).kneighbors(vectors)
    typicalities: npt.NDArray[np.float64] = 1 / (distances[:, 1:].mean(axis=1) + NEAREST)
    return typicalities
