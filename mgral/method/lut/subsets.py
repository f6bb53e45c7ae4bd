"""The reward split of a table, and the subsets of images that its variants learn from.

The paper measures rewards on held-out data and trains each variant on a subset, but does not say which images these
are. Here a part of the labelled images is held out, or a part of the pool with pseudo-labels of a detector. So no
label is used that was not paid for.

The subsets are mixtures over clusters, ranging from nearly a single cluster to nearly uniform draws. Uniform draws
alone would all be alike, and their variants would show no differences. Subsets of single clusters alone would tell
nothing about mixed batches.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, images_in
from mgral.data.dataset import Dataset
from mgral.errors import SparseError
from mgral.method.lut.plan import SubsetPlan, rewards_of_pool, sizes_of
from mgral.selection.clusters import cluster
from mgral.selection.embeddings import Embeddings
from mgral.selection.pool import unlabelled
from mgral.selection.spending import in_images

Rows = npt.NDArray[np.int64]

BASE_FRACTION = 0.4
"""Fraction of the labelled images, without the reward images, that all variants learn with `labels` and `warm`."""
STUDENT_FRACTION = 0.5
"""Fraction of the labelled images that all variants learn with `pseudo_labels`.

It is below 1 because variants can only learn from pseudo-labels of a detector that knows more than they do.
"""


def split_reward(labels: Sequence[Rows], fraction: float, order: Rows) -> tuple[Rows, Rows]:
    """Split n labelled images into reward images and the rest.

    First, one reward image of each class is taken, the rarest class first. This may take more than `fraction` of the
    images. Otherwise other images are added, up to `fraction`. An image is not taken if the rest would then have no
    image of one of its classes. So a class that only one image shows is learnt, but not measured.

    Parameters
    ----------
    labels
        Class indices of the objects in each image, int64; empty for an image without objects.
    fraction
        Fraction of the images to measure rewards on.
    order
        All rows, int64 [n]; rows at the start are the first to become reward images.

    Returns
    -------
    Rows of the reward images and of the rest, int64, ascending; neither is empty.

    Raises
    ------
    SparseError
        If there are fewer than two images.
    """
    count = len(labels)
    if count < 2:
        raise SparseError(f"rewards need 2 labelled images, and there {_are(count)}")
    present = np.zeros(
        (count, 1 + max((int(classes.max()) for classes in labels if len(classes)), default=0)), dtype=bool
    )
    for row, classes in enumerate(labels):
        present[row, classes] = True
    remaining = present.sum(axis=0)
    taken = np.zeros(count, dtype=bool)

    def take_reward_image(mask: npt.NDArray[np.bool_]) -> bool:
        """Take the first image of the order that the mask selects and the rest can spare; False if there is none."""
        spare = ~(present & (remaining < 2)).any(axis=1)
        candidates = order[(mask & spare & ~taken)[order]]
        if len(candidates) == 0 or taken.sum() == count - 1:
            return False
        taken[candidates[0]] = True
        remaining[present[candidates[0]]] -= 1
        return True

    for label in np.argsort(remaining, kind="stable"):
        if not present[taken, label].any():
            take_reward_image(present[:, label])
    every_image = np.ones(count, dtype=bool)
    while taken.sum() < round(fraction * count) and take_reward_image(every_image):
        pass
    if not taken.any():
        taken[order[0]] = True
    return np.flatnonzero(taken), np.flatnonzero(~taken)


def draw_subsets(
    assignment: Rows, sizes: Sequence[int], concentrations: Sequence[float], rng: np.random.Generator
) -> list[Rows]:
    """Draw subsets of given sizes, one for each concentration, each a mixture of the clusters.

    The weights of the clusters in a subset are w ~ Dirichlet(concentration). The images of the subset are drawn one
    after the other without replacement. An image of cluster c has the weight w_c / |c|. This is done by taking the
    largest values of log weight + Gumbel noise.

    Parameters
    ----------
    assignment
        Cluster of each of the N images, int64 [N].
    sizes
        Number of images in each subset, at most N.
    concentrations
        Dirichlet concentration of each subset.

    Returns
    -------
    Rows of the images of each subset, int64 [size], ascending.
    """
    cluster_sizes = np.bincount(assignment)
    occupied = cluster_sizes > 0
    subsets = []
    for size, concentration in zip(sizes, concentrations, strict=True):
        weights = np.zeros(len(cluster_sizes))
        weights[occupied] = rng.dirichlet(np.full(occupied.sum(), concentration))
        # A weight above 0, so that every cluster can fill up a subset if the others have too few images.
        share = np.maximum(weights, 1e-300) / np.maximum(cluster_sizes, 1)
        keys = np.log(share)[assignment] + rng.gumbel(size=len(assignment))
        subsets.append(np.sort(np.argsort(-keys, kind="stable")[:size]))
    return subsets


def reward_order(count: int, fraction: float, split: int, rng: np.random.Generator) -> Rows:
    """Return n rows in a random order, int64 [n], rotated so that each split starts with other images.

    A split starts with the rows that follow the reward images of the previous split. So, as far as the classes allow,
    no image becomes a reward image twice before all images have been one.
    """
    return np.roll(rng.permutation(count), -split * round(fraction * count)).astype(np.int64)


def plan_subsets(
    config: Config,
    dataset: Dataset,
    labelled: Rows,
    embeddings: Embeddings,
    seed: int,
    cycle: int,
    split: int,
) -> SubsetPlan:
    """Draw a reward split of a cycle and the subsets S_1..S_K of its table.

    Parameters
    ----------
    dataset
        All training images. Only labels of the labelled images are read.
    labelled
        Ids of the labelled images, int64 [n].
    split
        Number of the reward split, from 0.

    Raises
    ------
    SparseError
        If there are too few images to measure rewards on some of them and to train on others.
    """
    lut, pool = config.lut, unlabelled(dataset.image_ids, labelled)
    size = lut.subset_size or images_in(in_images(config, dataset, labelled).budget)
    if lut.labels == "pseudo_labels":
        count = rewards_of_pool(lut, len(pool))
        reward, base, source = _split_pool(labelled, pool, count, seed, cycle, split)
        size = min(size, max(1, len(source) // 2))
    else:
        order = reward_order(
            len(labelled), lut.reward_fraction, split, np.random.default_rng(derive_seed(seed, "reward split", cycle))
        )
        labels = [dataset.labels[row] for row in dataset.rows(labelled)]
        reward_rows, other_rows = split_reward(labels, lut.reward_fraction, order)
        reward, base, source = labelled[reward_rows], labelled[other_rows], pool
    subset_rng = np.random.default_rng(derive_seed(seed, "subsets", cycle, split))
    concentrations = np.geomspace(*lut.concentration, lut.variants)
    sizes = [size] * lut.variants
    if cold := lut.labels == "labels" and lut.start == "cold":
        base, source = base[:0], base
        sizes = sizes_of(len(source), lut.variants)
        concentrations = subset_rng.permutation(concentrations)
    elif lut.labels == "labels":
        rng = np.random.default_rng(derive_seed(seed, "base images", cycle, split))
        base, source = _split_base(base, rng)
        sizes = [min(size, max(1, len(source) // 2))] * lut.variants
    if not cold and sizes[0] > len(source):
        raise SparseError(f"subsets of {size} images need as many in the pool, and there {_are(len(source))}")
    vectors = embeddings.features_of(source, config.embedding).vectors
    assignment = cluster(vectors, lut.clusters, derive_seed(seed, "clusters", cycle, split), starts=4)
    subsets = draw_subsets(assignment, sizes, concentrations.tolist(), subset_rng)
    return SubsetPlan(
        labels=lut.labels,
        start=lut.start,
        reward=_ascending(reward),
        base=_ascending(base),
        subsets=((), *(_ascending(source[rows]) for rows in subsets)),
    )


def _split_pool(labelled: Rows, pool: Rows, count: int, seed: int, cycle: int, split: int) -> tuple[Rows, Rows, Rows]:
    """Return `count` reward images from the pool, base images from the labelled images, and the rest of the pool."""
    if len(pool) < 3:
        raise SparseError(f"lookup tables need 3 images in the pool, and there {_are(len(pool))}")
    rng = np.random.default_rng(derive_seed(seed, "reward split", cycle))
    order = reward_order(len(pool), count / len(pool), split, rng)
    reward, source = pool[order[:count]], np.sort(pool[order[count:]])
    rng = np.random.default_rng(derive_seed(seed, "base images", cycle))
    base = labelled[reward_order(len(labelled), STUDENT_FRACTION, split, rng)]
    return reward, base[: max(1, round(STUDENT_FRACTION * len(labelled)))], source


def _split_base(ids: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Draw the base images from these ids; return them and the rest, ascending."""
    if len(ids) < 2:
        raise SparseError(f"subsets need 2 labelled images beside those of the rewards, and there {_are(len(ids))}")
    shuffled = rng.permutation(ids)
    size = min(max(1, round(BASE_FRACTION * len(ids))), len(ids) - 1)
    return np.sort(shuffled[:size]), np.sort(shuffled[size:])


def _ascending(ids: Rows) -> tuple[int, ...]:
    return tuple(sorted(ids.tolist()))


def _are(count: int) -> str:
    return f"is {count}" if count == 1 else f"are {count}"
