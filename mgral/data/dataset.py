"""The internal form of a data set: COCO JSON with the original ids, as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.errors import InputError


class Category(NamedTuple):
    """A class of objects with its original id, which may start at 0 and have gaps."""

    id: int
    name: str


@dataclass(frozen=True)
class Dataset:
    """Images and boxes of one split, in the order of the JSON file, which is the row order of the image cache."""

    image_ids: npt.NDArray[np.int64]
    """Shape [N]."""
    file_names: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    """Shape [N, 2]: width and height of the original images, in pixels."""
    categories: tuple[Category, ...]
    """Ascending by id; a label is an index into it."""
    boxes: tuple[npt.NDArray[np.float32], ...]
    """One array [n, 4] an image: x1, y1, x2, y2 in pixels of the original image; crowd boxes are left out."""
    labels: tuple[npt.NDArray[np.int64], ...]
    """One array [n] an image: indices into `categories`."""
    source_ids: tuple[str, ...] | None = None
    """What the annotations call the images, where that is no number of 64 bits; else None."""

    def rows(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the rows of the given ids, in their order; raises InputError on an id that is not there."""
        rows, unknown = find_rows(self.image_ids, image_ids)
        if len(unknown):
            raise InputError(f"image ids {unknown[:5].tolist()} are not in the data set; delete the file naming them")
        return rows

    def without_labels(self, image_ids: npt.ArrayLike) -> "Dataset":
        """Return the same images, of which the given ones have no boxes."""
        boxes, labels = list(self.boxes), list(self.labels)
        for row in self.rows(image_ids).tolist():
            boxes[row], labels[row] = np.empty((0, 4), np.float32), np.empty(0, np.int64)
        return replace(self, boxes=tuple(boxes), labels=tuple(labels))

    def object_counts(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return how many objects of each class the given images contain, int64 [n, C], in their order."""
        counts = np.zeros((np.size(image_ids), len(self.categories)), dtype=np.int64)
        for count, row in zip(counts, self.rows(image_ids), strict=True):
            np.add.at(count, self.labels[row], 1)
        return counts


def find_rows(
    ids: npt.NDArray[np.int64], wanted: npt.ArrayLike
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the row of each wanted id among `ids` [N], and those of the wanted that are not there."""
    sought = np.asarray(wanted, dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    rows = order[np.searchsorted(ids, sought, sorter=order).clip(max=len(order) - 1)]
    return rows, sought[ids[rows] != sought]


def load_dataset(path: Path) -> Dataset:
    """Read a COCO JSON file that the step `data` has checked."""
    return as_dataset(read_json(path))


def as_dataset(coco: Mapping[str, Any]) -> Dataset:
    """Return the arrays of a checked COCO JSON."""
    categories = tuple(sorted(Category(category["id"], category["name"]) for category in coco["categories"]))
    label_of = {category.id: label for label, category in enumerate(categories)}
    images = coco["images"]
    row_of = {image["id"]: row for row, image in enumerate(images)}
    source_ids = [image.get("source_id", "") for image in images]
    boxes: list[list[tuple[float, float, float, float]]] = [[] for _ in images]
    labels: list[list[int]] = [[] for _ in images]
    for annotation in coco["annotations"]:
        if annotation.get("iscrowd", 0):
            continue
        x, y, width, height = annotation["bbox"]
        boxes[row_of[annotation["image_id"]]].append((x, y, x + width, y + height))
        labels[row_of[annotation["image_id"]]].append(label_of[annotation["category_id"]])
    return Dataset(
        image_ids=np.array([image["id"] for image in images], dtype=np.int64),
        file_names=tuple(image["file_name"] for image in images),
        sizes=np.array([(image["width"], image["height"]) for image in images], dtype=np.int64).reshape(-1, 2),
        categories=categories,
        boxes=tuple(np.array(image_boxes, dtype=np.float32).reshape(-1, 4) for image_boxes in boxes),
        labels=tuple(np.array(image_labels, dtype=np.int64) for image_labels in labels),
        source_ids=tuple(source_ids) if any(source_ids) else None,
    )
