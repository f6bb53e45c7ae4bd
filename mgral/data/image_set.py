"""The images of a split, with their annotations and the cache of their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.config import DetectorConfig
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.images import Images, load_images


@dataclass(frozen=True)
class ImageSet:
    """The images of one split, and what is known of them."""

    dataset: Dataset
    """Boxes and classes as arrays, to learn from."""
    images: Images
    """The pixels, in the order of the data set."""
    source: Path | Mapping[str, Any]
    """COCO JSON of the split, or the file that it is in."""

    def truth(self) -> Mapping[str, Any]:
        """Return the COCO JSON that detections are scored against; a file is read again, as it can be large."""
        if isinstance(self.source, Path):
            coco: Mapping[str, Any] = read_json(self.source)
            return coco
        return self.source

    def without_labels(self, image_ids: npt.ArrayLike) -> "ImageSet":
        """Return the same images, with no box to learn from in the given ones."""
        return replace(self, dataset=self.dataset.without_labels(image_ids))


def load_image_set(dataset: Path, images: Path, detector: DetectorConfig) -> ImageSet:
    """Open the files that the steps `data` and `cache` write, such as train.json and train.npy.

    Raises
    ------
    InputError
        Where a file cannot be read, or the cache is of other images or of another detector.
    """
    loaded = load_dataset(dataset)
    return ImageSet(loaded, load_images(images, loaded, detector.image_canvas), dataset)
