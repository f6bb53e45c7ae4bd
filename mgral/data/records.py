"""The internal form of a data set, COCO JSON, while it is read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

LARGEST_SIDE = 2**31 - 1
"""Pixels that a picture may be wide."""
UNKNOWN_SIZE = -1, -1
"""Width and height of an image whose size is faulty; the fault itself is in the findings."""


class Image(TypedDict):
    """An image as in COCO JSON; the file name is relative to the data folder."""

    id: int
    file_name: str
    width: int
    """Pixels; 0 until it is read from the picture, where the annotations have none."""
    height: int
    source_id: NotRequired[str]
    """What the annotations call it, where that is no number of 64 bits."""
    labelled: NotRequired[bool]
    """Whether somebody labelled it, where that is known; not there once the data set is checked."""


class Annotation(TypedDict):
    """A box as in COCO JSON: x, y, width, height in pixels, the image's corner at (0, 0)."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: NotRequired[float]
    iscrowd: int
    """1 for a box that training ignores, and whose detection counts neither as right nor as wrong."""
    difficult: NotRequired[int]
    """1 if a VOC object is marked as difficult; other formats have none."""


class CategoryRecord(TypedDict):
    """A class as in COCO JSON."""

    id: int
    name: str


class Coco(TypedDict):
    """The internal form of a split: COCO JSON and nothing beside these three lists."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[CategoryRecord]


@dataclass(frozen=True)
class Split:
    """One split as a reader found it."""

    source: str
    """The file, or files, that list its images."""
    coco: Coco
    files: Mapping[int, str] = field(default_factory=dict)
    """The annotation file of an image, by id, in formats that have one for each."""

    def place(self, annotation: Annotation, image: Image) -> str:
        """Name a box in a message."""
        file = self.files.get(annotation["image_id"])
        if file:
            return f"{file}: the box {_box_text(annotation['bbox'])}"
        return f"{self.source}: annotation {annotation['id']} of image {image['file_name']}"


def _box_text(box: list[float]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"
