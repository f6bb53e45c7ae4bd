"""Strategy `max_herding`: images chosen so that every image is near a labelled or chosen one, by a Gaussian kernel.

It needs no label.

Source
------
Bae, Noh, Sutherland, *Generalized coverage for more robust low-budget active learning*, ECCV 2024.

Formula
-------
Greedily maximise the mean, over images x, of the largest k(x, x') of a labelled or chosen x', with

    k = exp(-d^2 / w^2),  w = 1

of the Euclidean distance d.

Differences
-----------
The width w is that of the published code. Its vectors have length 1. Here they are the embeddings' principal
components, whose mean squared length is 1, so distances are of the same size.

With more than 10,000 images, the mean is over 10,000 of them, drawn at random, but every image of the pool can be
chosen. The published code draws 35,000 and chooses only from these. So time and memory grow linearly with the pool,
not with its square: the first gains of 100,000 images need 10^9 kernel values, of which 10^7 (40 MB) are in memory at
a time.
"""

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.utils import gen_batches
from threadpoolctl import threadpool_limits

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.selection.query import Choice, Query
from mgral.selection.submodular import greedy

WIDTH = 1.0
"""Width of the kernel; 1 is the root of the mean squared length of an embedding."""
REFERENCES = 10_000
"""Most images that the mean is taken over."""
PART = 1000
"""Images that are compared with the references at a time."""

Vectors = npt.NDArray[np.float32]


@register("max_herding", "greedy by how near all images are to a labelled or chosen one", requires=("embeddings",))
def choose(query: Query) -> Choice:
    """Choose one image after the other: each time the one that raises the mean kernel value most."""
    assert query.embeddings is not None
    pool, labelled = (query.embeddings.components_of(ids) for ids in (query.pool, query.labelled))
    rng = np.random.default_rng(derive_seed(query.seed, "max herding", query.cycle))
    vectors = np.concatenate([pool, labelled])
    references = vectors[np.sort(rng.permutation(len(vectors))[:REFERENCES])]
    with threadpool_limits(limits=1):  # threads add up in the order in which they finish
        return herd(pool, labelled, references, query.budget)


def herd(pool: Vectors, labelled: Vectors, references: Vectors, budget: int) -> Choice:
    """Choose from vectors [n, D] beside labelled ones [m, D], so that references [r, D] are near to one of them."""
    covered = np.zeros(len(references), dtype=np.float32)

    def cover(vectors: Vectors) -> None:
        np.maximum(covered, _kernel(vectors, references).max(axis=0), out=covered)

    def gains(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        mean_gains = np.empty(len(rows))
        for part in gen_batches(len(rows), PART):
            closer = _kernel(pool[rows[part]], references) - covered
            mean_gains[part] = np.maximum(closer, 0, out=closer).mean(axis=1, dtype=np.float64)
        return mean_gains

    for start in range(0, len(labelled), PART):
        cover(labelled[start : start + PART])
    return greedy(gains, lambda row: cover(pool[row : row + 1]), len(pool), budget)


def _kernel(first: Vectors, second: Vectors) -> Vectors:
    kernel: Vectors = rbf_kernel(first, second, gamma=1 / WIDTH**2)
    return kernel
