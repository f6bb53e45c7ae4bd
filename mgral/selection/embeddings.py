"""Embeddings and predicted object counts of all training images, as the step `embed` writes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import map_arrays
from mgral.config import EmbeddingConfig
from mgral.data.dataset import find_rows
from mgral.errors import InputError

Float32 = npt.NDArray[np.float32]


class ImageFeatures(NamedTuple):
    """What agents and lookup tables are given of images, [N], or of S sets of them, [S, B]."""

    vectors: Float32
    """Shape [..., D]: principal components and, if so configured, the counts on the same scale."""
    counts: Float32
    """Shape [..., C]: predicted objects of each class in an image."""

    def rows(self, rows: npt.NDArray[np.int64]) -> "ImageFeatures":
        """Return the features of rows of [N], of any shape."""
        return ImageFeatures(self.vectors[rows], self.counts[rows])


@dataclass(frozen=True)
class Embeddings:
    """The vectors of all training images."""

    image_ids: npt.NDArray[np.int64]
    """Shape [N]."""
    components: Float32
    """Shape [N, D], finite: principal components of the backbone's features, of a mean squared norm of 1."""
    counts: Float32
    """Objects of each class, [N, C], finite, 0 or more: counted in the images of `counted`, predicted for others."""
    presence: Float32
    """Probability that an image shows the class, [N, C], 0 to 1: known for the images of `counted`."""
    class_scores: Float32
    """Sum of the scores of the objects found of each class, [N, C]; [N, 0] if a command gives features alone."""
    counted: npt.NDArray[np.int64]
    """Ids of the labelled images that the counts were learnt from, ascending, [n]."""
    path: Path | None = None
    """The file they came from, if any, for messages."""

    def __str__(self) -> str:
        return str(self.path or "the embeddings")

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the content of an embeddings file."""
        return {
            "image_ids": self.image_ids,
            "components": self.components,
            "object_counts": self.counts,
            "class_presence": self.presence,
            "class_scores": self.class_scores,
            "counted": self.counted,
        }

    def components_of(self, image_ids: npt.ArrayLike) -> Float32:
        """Return the components of the given ids, float32 [n, D], in their order; InputError on an unknown id."""
        components: Float32 = self.components[self._rows(image_ids)]
        return components

    def counts_of(self, image_ids: npt.ArrayLike) -> Float32:
        """Return the counts of ids of any shape, float32 [..., C]; InputError on an unknown id."""
        counts: Float32 = self.counts[self._rows(image_ids)]
        return counts

    def presence_of(self, image_ids: npt.ArrayLike) -> Float32:
        """Return how likely images show each class, float32 [..., C], given their ids [...]."""
        presence: Float32 = self.presence[self._rows(image_ids)]
        return presence

    def features_of(self, image_ids: npt.ArrayLike, config: EmbeddingConfig) -> ImageFeatures:
        """Return the features of ids, of any shape; InputError on an unknown id."""
        vectors, rows = self.components, self._rows(image_ids)
        if config.object_counts:
            vectors = np.concatenate([vectors, standardise(self.counts)], axis=1)
        return ImageFeatures(vectors, self.counts).rows(rows)

    def _rows(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        rows, unknown = find_rows(self.image_ids, image_ids)
        if len(unknown):
            raise InputError(f"{self} has no embedding of images {unknown[:5].tolist()}; run the step `embed` again")
        return rows


def load_embeddings(path: Path) -> Embeddings:
    """Map an embeddings file; raises InputError where it is damaged or contains a value that is not finite."""
    arrays = map_arrays(path)
    try:
        image_ids, counted = (arrays[name].astype(np.int64, copy=False) for name in ("image_ids", "counted"))
        components, counts, presence, class_scores = (
            arrays[name].astype(np.float32, copy=False)
            for name in ("components", "object_counts", "class_presence", "class_scores")
        )
    except KeyError as error:
        raise InputError(f"{path} contains no array {error}; run the step `embed` again") from None
    matrices = components, counts, presence, class_scores
    if any(matrix.ndim != 2 or matrix.shape[:1] != image_ids.shape for matrix in matrices) or len(image_ids) == 0:
        raise InputError(f"{path} does not contain one embedding for each image; run the step `embed` again")
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise InputError(f"{path} contains an embedding that is not finite; run `detector` and `embed` again")
    return Embeddings(image_ids, *matrices, counted, path)


class Scale(NamedTuple):
    """Mean and unit of columns: (x - mean) / unit has equal deviations, and rows have a mean squared norm of 1."""

    zero: npt.NDArray[np.float64]
    """What 0 becomes, [C]."""
    unit: npt.NDArray[np.float64]
    """Deviation times the root of the number of columns that vary, [C]; 0 where all rows agree."""
    mean: npt.NDArray[np.float64]
    """Mean of each column, [C]."""

    @classmethod
    def of(cls, values: Float32) -> "Scale":
        """Return the scale of the columns of [N, C]."""
        mean = values.mean(axis=0, dtype=np.float64)
        deviation = (values - mean).std(axis=0)
        unit = deviation * max(1.0, np.sqrt((deviation > 0).sum()))
        return cls(np.where(unit > 0, -mean / np.where(unit > 0, unit, 1), 0), unit, mean)

    def apply(self, values: Float32) -> Float32:
        """Return values [..., C] on the scale, float32; a column in which all rows agreed is 0."""
        scaled: Float32 = ((values - self.mean) / np.where(self.unit > 0, self.unit, 1)).astype(np.float32)
        return scaled


def standardise(values: Float32) -> Float32:
    """Return the columns of [N, C] with mean 0 and equal deviations, so that rows have a mean squared norm of 1."""
    return Scale.of(values).apply(values)
