"""k-means, the same on any number of threads."""

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

WHOLE_PASSES = 50
"""Clusters up to which k-means looks at all images in each step, and not at 5,000 drawn ones."""


def cluster(vectors: npt.NDArray[np.float32], count: int, seed: int, starts: int = 1) -> npt.NDArray[np.int64]:
    """Return the k-means cluster of each vector, int64 [N]; at most as many clusters as distinct vectors.

    Parameters
    ----------
    starts
        How often k-means begins anew; the best result is taken.
    """
    count, seed = min(count, len(np.unique(vectors, axis=0))), seed % 2**32
    k_means = KMeans(count, n_init=starts, random_state=seed)
    mini_batch_k_means = MiniBatchKMeans(count, batch_size=5000, n_init=starts, random_state=seed)
    # Several threads would add their parts of a centre in varying order, which changes its last bits.
    with threadpool_limits(limits=1):
        clusters = (k_means if count <= WHOLE_PASSES else mini_batch_k_means).fit_predict(vectors)
    return np.asarray(clusters, dtype=np.int64)
