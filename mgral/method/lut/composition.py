"""Features of a set of images, from which the AP of a detector trained on the set is predicted.

The features are functions of amounts that are summed over the images. So the features of the labelled images and a
batch together follow from the sum of their amounts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.data.dataset import find_rows
from mgral.errors import InputError
from mgral.selection.clusters import cluster
from mgral.selection.embeddings import Embeddings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FEATURES = ("images", "crowding", "variety")
"""Features of a class: how many images show it, how many objects an image has, and how evenly the clusters occur.

The last two are the same for all classes. The prior of the regression uses the first alone.
"""
CLUSTERS = 32
"""Number of k-means clusters of the images' embeddings, by which variety is measured."""


class Features(NamedTuple):
    """Features of sets of images."""

    images: Float64
    """Logarithm of 1 + the number of images that show a class, [..., C]."""
    crowding: Float64
    """Shape [...]."""
    variety: Float64
    """Shape [...]."""


@dataclass(frozen=True)
class Composition:
    """The amounts of each training image, which are summed over a set of images."""

    image_ids: npt.NDArray[np.int64]
    """Ids of the images, [N]."""
    amounts: Float32
    """Shape [N, J]: 1; presence of each class, 0 to 1; objects of each class; membership in each cluster, 0 or 1."""
    classes: int
    """Number of classes, C; J = 1 + 2 C + number of clusters."""

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Composition":
        """Return the amounts of all images, given their embeddings and predicted object counts."""
        clusters = cluster(embeddings.components, CLUSTERS, seed=0, starts=4)
        ones = np.ones((len(clusters), 1), np.float32)
        membership = np.eye(clusters.max() + 1, dtype=np.float32)[clusters]
        amounts = np.concatenate([ones, embeddings.presence, embeddings.counts, membership], axis=1)
        return cls(embeddings.image_ids, amounts, embeddings.counts.shape[1])

    def of_images(self, image_ids: npt.ArrayLike) -> Float32:
        """Return the amounts, float32 [..., J], of images with the given ids, [...]; InputError on an unknown id."""
        rows, unknown = find_rows(self.image_ids, image_ids)
        if len(unknown):
            raise InputError(f"images {unknown[:5].tolist()} have no embedding; run the step `embed` again")
        amounts: Float32 = self.amounts[rows]
        return amounts

    def totals(self, image_ids: npt.ArrayLike) -> Float64:
        """Return the amounts of a set of images summed up, float64 [J]."""
        totals: Float64 = self.of_images(np.asarray(image_ids, np.int64)).sum(axis=0, dtype=np.float64)
        return totals

    def roots(self, totals: Float64) -> Float64:
        """Return the square root of the number of objects of each class, float64 [..., C], given totals [..., J].

        `sqrt_counts` chooses by the sum of these roots, without a table.
        """
        roots: Float64 = np.sqrt(totals[..., 1 + self.classes : 1 + 2 * self.classes])
        return roots

    def separate_features(self, totals: Float64) -> Features:
        """Return the features of sets of images with the given totals, [..., J].

        With n images in a set (at least 1), p_c the sum of the presence of class c, m objects of all classes, and n_k
        images in cluster k:

            images   = log(1 + p_c), as AP grows roughly with the logarithm of this number
            crowding = log(1 + m / n)
            variety  = log(sum over k of sqrt(n_k / n)), 0 if all images are in one cluster
        """
        images, objects, sizes = self._split(totals)
        return _features(totals[..., 0], images, objects.sum(axis=-1), np.sqrt(np.maximum(sizes, 0)).sum(axis=-1))

    def separate_features_with_each(self, totals: Float64, amounts: Float64) -> Features:
        """Return the features of S sets of images with each of n images added, [S, n, ...].

        What the features need of objects and clusters is computed for sets and images apart, so it takes a third of
        the time of `separate_features`.

        Parameters
        ----------
        totals
            Amounts of the sets, [S, J].
        amounts
            Amounts of the images, [n, J].
        """
        images, objects, sizes = self._split(totals)
        added_images, added_objects, membership = self._split(amounts)
        sizes = np.maximum(sizes, 0)
        # An image is in one cluster, whose root alone it changes.
        roots = np.sqrt(sizes).sum(axis=-1)[:, None] + (np.sqrt(sizes + 1) - np.sqrt(sizes)) @ membership.T
        return _features(
            totals[:, :1] + amounts[:, 0],
            images[:, None] + added_images,
            objects.sum(axis=-1)[:, None] + added_objects.sum(axis=-1),
            roots,
        )

    def features(self, totals: Float64) -> Float64:
        """Return all features of each class, float64 [..., C, F], of sets with the given totals, [..., J]."""
        features = self.separate_features(totals)
        shared = (np.broadcast_to(one[..., None], features.images.shape) for one in features[1:])
        return np.stack([features.images, *shared], axis=-1)

    def _split(self, totals: Float64) -> tuple[Float64, Float64, Float64]:
        """Return images of each class, objects of each class, and images of each cluster."""
        objects, clusters = 1 + self.classes, 1 + 2 * self.classes
        return totals[..., 1:objects], totals[..., objects:clusters], totals[..., clusters:]


def _features(count: Float64, images: Float64, objects: Float64, roots: Float64) -> Features:
    """Compute the features.

    Parameters
    ----------
    count, objects
        Numbers of images and of objects, [...].
    images
        Numbers of images of each class, [..., C].
    roots
        Sum of the square roots of the clusters' numbers of images, [...].
    """
    count = np.maximum(count, 1)
    return Features(np.log1p(images), np.log1p(objects / count), np.log(np.maximum(roots / np.sqrt(count), 1)))
