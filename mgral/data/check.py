"""What every data set must fulfil before the first byte of it is written, whatever format it was read from."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from mgral.errors import InputError

ROUNDING = 0.05
"""Pixels by which a box may leave its image without a count: annotation files round to 0.01 and less."""


class Image(TypedDict):
    """An image as in COCO JSON; the file name is relative to the data folder."""

    id: int
    file_name: str
    width: int
    height: int


class Annotation(TypedDict):
    """A box as in COCO JSON: x, y, width, height in pixels, the image's corner at (0, 0)."""

    id: int
    image_id: int
    category_id: int
    bbox: list[float]
    area: NotRequired[float]
    iscrowd: int
    """1 where it is neither learnt nor scored, and finding it is no mistake."""
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
    """What a reader found: one split, and the file, or files, that an error message names."""

    source: str
    coco: Coco


Fault = Literal["zero-area", "outside", "partly outside"]


@dataclass(frozen=True)
class Checked:
    """A split that can be written, and what was wrong with its boxes."""

    coco: Coco
    faults: Counter[Fault]


def check_splits(train: Split, test: Split, root: Path, strict: bool) -> tuple[Checked, Checked]:
    """Check the two splits of a data set, each by itself and against the other.

    Boxes without area and boxes wholly outside their image are dropped, boxes that leave it are clipped, all with a
    count, or, with `strict`, are an error. Images without boxes are kept. Images and annotations are sorted by id.

    Raises
    ------
    InputError
        Naming the annotation file and the entry, for repeated or unknown ids, sizes that are no sizes, splits that
        share an image or differ in their classes, a missing image file, or a class without a box to learn from.
    """
    for split in (train, test):
        _check_ids(split)
        _check_sizes(split)
    _check_same_categories(train, test)
    _check_leakage(train, test)
    checked = _check_boxes(train, strict), _check_boxes(test, strict)
    _check_classes_have_boxes(train.source, test.source, *checked)
    for split in (train, test):
        _check_files(split, root)
    return checked


def with_boxes(split: Checked) -> Checked:
    """Leave out the images that hold no box to learn from: none at all, or only crowds."""
    learnable = {a["image_id"] for a in split.coco["annotations"] if not a["iscrowd"]}
    coco = Coco(
        images=[image for image in split.coco["images"] if image["id"] in learnable],
        annotations=[a for a in split.coco["annotations"] if a["image_id"] in learnable],
        categories=split.coco["categories"],
    )
    return Checked(coco, split.faults)


def _check_ids(split: Split) -> None:
    source, coco = split.source, split.coco
    if not coco["images"]:
        raise InputError(f"{source}: holds no image; name a split that has images")
    if not coco["categories"]:
        raise InputError(f"{source}: holds no class; give its `categories`")
    _check_unique(source, "image id", (image["id"] for image in coco["images"]))
    _check_unique(source, "file name", (image["file_name"] for image in coco["images"]))
    _check_unique(source, "annotation id", (annotation["id"] for annotation in coco["annotations"]))
    _check_unique(source, "category id", (category["id"] for category in coco["categories"]))
    _check_unique(source, "category name", (category["name"] for category in coco["categories"]))
    images = {image["id"] for image in coco["images"]}
    categories = {category["id"] for category in coco["categories"]}
    for annotation in coco["annotations"]:
        for key, value, known in (
            ("image_id", annotation["image_id"], images),
            ("category_id", annotation["category_id"], categories),
        ):
            if value not in known:
                raise InputError(
                    f"{source}: annotation {annotation['id']} has {key} {value}, which is not in the file; "
                    "correct or remove the annotation"
                )


def _check_unique(source: str, what: str, values: Iterable[Hashable]) -> None:
    repeated = [value for value, times in Counter(values).items() if times > 1]
    if repeated:
        raise InputError(f"{source}: {what} {repeated[0]!r} is there more than once; give each its own")


def _check_sizes(split: Split) -> None:
    for image in split.coco["images"]:
        if image["width"] <= 0 or image["height"] <= 0:
            raise InputError(
                f"{split.source}: image {image['file_name']} is said to be {image['width']} x {image['height']} "
                "pixels; correct its size"
            )
    for annotation in split.coco["annotations"]:
        box = annotation["bbox"]
        if not all(math.isfinite(value) for value in box) or box[2] < 0 or box[3] < 0:
            raise InputError(
                f"{split.source}: annotation {annotation['id']} of image {annotation['image_id']} has the box {box}; "
                "give x, y, width and height as finite numbers, the sizes not negative"
            )


def _check_same_categories(train: Split, test: Split) -> None:
    ours, theirs = ({(c["id"], c["name"]) for c in split.coco["categories"]} for split in (train, test))
    if ours != theirs:
        odd = ", ".join(f"{name!r} (id {number})" for number, name in sorted(ours ^ theirs)[:5])
        raise InputError(
            f"{train.source} and {test.source} differ in their categories, the first being {odd}; "
            "give both files the same list"
        )


def _check_leakage(train: Split, test: Split) -> None:
    names = [{image["file_name"] for image in split.coco["images"]} for split in (train, test)]
    shared = sorted(names[0] & names[1])
    if shared:
        raise InputError(
            f"{len(shared)} images, such as {shared[0]}, are in {train.source} and in {test.source}; "
            "remove them from one, as a score on images that were trained on means nothing"
        )


def _check_boxes(split: Split, strict: bool) -> Checked:
    images = {image["id"]: image for image in split.coco["images"]}
    faults: Counter[Fault] = Counter()
    kept: list[Annotation] = []
    for annotation in split.coco["annotations"]:
        image = images[annotation["image_id"]]
        fault, box = _clip(annotation["bbox"], image["width"], image["height"])
        if fault:
            if strict:
                raise InputError(
                    f"{split.source}: annotation {annotation['id']} of image {image['file_name']} ({fault}, "
                    f"{annotation['bbox']} in {image['width']} x {image['height']} pixels): correct it, or set "
                    "`data.strict: false` to drop or clip such boxes"
                )
            faults[fault] += 1
        if box is not None:
            # The area of a mask, where there is one, decides which boxes count as small, medium and large.
            area = box[2] * box[3] if fault else annotation.get("area", box[2] * box[3])
            kept.append({**annotation, "bbox": box, "area": area})
    coco = Coco(
        images=sorted(split.coco["images"], key=lambda image: image["id"]),
        annotations=sorted(kept, key=lambda annotation: annotation["id"]),
        categories=sorted(split.coco["categories"], key=lambda category: category["id"]),
    )
    return Checked(coco, faults)


def _clip(box: list[float], width: int, height: int) -> tuple[Fault | None, list[float] | None]:
    """Return the kind of fault and the box inside the image, or None where nothing is left."""
    x, y, w, h = box
    if w == 0 or h == 0:
        return "zero-area", None
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    if left >= right or top >= bottom:
        return "outside", None
    overhang = max(left - x, top - y, x + w - right, y + h - bottom)
    if overhang <= 0:
        return None, box
    return ("partly outside" if overhang > ROUNDING else None), [left, top, right - left, bottom - top]


def _check_classes_have_boxes(train_source: str, test_source: str, train: Checked, test: Checked) -> None:
    learnable, tested = (
        {a["category_id"] for a in split.coco["annotations"] if not a["iscrowd"]} for split in (train, test)
    )
    missing = [category for category in train.coco["categories"] if category["id"] not in learnable]
    if missing:
        names = ", ".join(repr(category["name"]) for category in missing)
        nowhere = all(category["id"] not in tested for category in missing)
        advice = (
            "they have none among the test images either: remove them from `categories` in both files"
            if nowhere
            else "add training images that show them, or remove them from the data set"
        )
        raise InputError(f"{train_source}: these classes have no box in the training images: {names}; {advice}")
    if not tested:
        raise InputError(f"{test_source}: the test images hold no box to score against; name another test split")


def _check_files(split: Split, root: Path) -> None:
    for image in split.coco["images"]:
        path = root / image["file_name"]
        if not path.is_file():
            raise InputError(f"{path}: no such image, but {split.source} names it; add it, or correct the folder")
