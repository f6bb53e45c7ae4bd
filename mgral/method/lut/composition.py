"""What a set of images is made of, as the AP of a detector that learns from it is predicted from that.

Amounts add up over the images of a set, so that a batch is described on top of what is labelled.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mgral.data.dataset import find_rows
from mgral.errors import InputError
from mgral.method.lut.subsets import cluster
from mgral.selection.embeddings import Embeddings

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FEATURES = ("images", "crowding", "variety")
"""What the AP of a class is predicted from: the images that show it, the objects of all classes in an image, and how
evenly the images are of all kinds. The first is worth something without any table."""
KINDS = 32
"""k-means clusters of the images, for their variety."""


@dataclass(frozen=True)
class Composition:
    """What each training image adds to a set."""

    image_ids: npt.NDArray[np.int64]
    """Shape [N]."""
    amounts: Float32
    """Shape [N, J]: an image; whether it shows each class; objects of each class; whether it is of each kind."""
    classes: int
    """C, so that J = 1 + 2 C + kinds."""

    @classmethod
    def of(cls, embeddings: Embeddings) -> "Composition":
        """Describe all images by what is predicted of them."""
        kinds = cluster(embeddings.components, KINDS, seed=0)
        one = np.ones((len(kinds), 1), np.float32)
        each = np.eye(kinds.max() + 1, dtype=np.float32)[kinds]
        amounts = np.concatenate([one, embeddings.presence, embeddings.counts, each], axis=1)
        return cls(embeddings.image_ids, amounts, embeddings.counts.shape[1])

    def of_images(self, image_ids: npt.ArrayLike) -> Float32:
        """Return the amounts of ids of any shape, float32 [..., J]; InputError on an unknown id."""
        rows, unknown = find_rows(self.image_ids, image_ids)
        if len(unknown):
            raise InputError(f"images {unknown[:5].tolist()} have no embedding; run the step `embed` again")
        amounts: Float32 = self.amounts[rows]
        return amounts

    def totals(self, image_ids: npt.ArrayLike) -> Float64:
        """Return the amounts of a set of images, float64 [J]."""
        totals: Float64 = self.of_images(np.asarray(image_ids, np.int64)).sum(axis=0, dtype=np.float64)
        return totals

    def roots(self, totals: Float64) -> Float64:
        """Return the roots of the objects of each class, float64 [..., C]: the form that needs no table."""
        roots: Float64 = np.sqrt(totals[..., 1 + self.classes : 1 + 2 * self.classes])
        return roots

    def features(self, totals: Float64) -> Float64:
        """Return the features by class, float64 [..., C, F], of sets with these totals, [..., J].

        AP rises with the logarithm of the images of a class.
        """
        count = np.maximum(totals[..., :1], 1)
        images, objects, kinds = np.split(totals[..., 1:], [self.classes, 2 * self.classes], axis=-1)
        crowding = np.log1p(objects.sum(axis=-1, keepdims=True) / count)
        variety = np.log(np.maximum(np.sqrt(np.maximum(kinds, 0)).sum(axis=-1, keepdims=True) / np.sqrt(count), 1))
        of_all = (np.broadcast_to(one, images.shape) for one in (crowding, variety))
        return np.stack([np.log1p(images), *of_all], axis=-1)
