"""Features of a set of images, from which the AP of a detector trained on the set is predicted.

The features are functions of amounts that are summed over the images. So the features of the labelled images and a
batch together follow from the sum of their amounts.
"""

from dataclasses import dataclass

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

    def features(self, totals: Float64) -> Float64:
        """Return the features of each class, float64 [..., C, F], of sets of images with the given totals, [..., J].

        With n images in a set (at least 1), p_c the sum of the presence of class c, m objects of all classes, and n_k
        images in cluster k:

            images   = log(1 + p_c), as AP grows roughly with the logarithm of this number
            crowding = log(1 + m / n)
            variety  = log(sum over k of sqrt(n_k / n)), 0 if all images are in one cluster
        """
        count = np.maximum(totals[..., :1], 1)
        images, objects, cluster_sizes = np.split(totals[..., 1:], [self.classes, 2 * self.classes], axis=-1)
        crowding = np.log1p(objects.sum(axis=-1, keepdims=True) / count)
        variety = np.log(
            np.maximum(np.sqrt(np.maximum(cluster_sizes, 0)).sum(axis=-1, keepdims=True) / np.sqrt(count), 1)
        )
        shared_features = (np.broadcast_to(feature, images.shape) for feature in (crowding, variety))
        return np.stack([np.log1p(images), *shared_features], axis=-1)
