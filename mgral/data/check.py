"""Checks of every data set, whatever its format, before anything is written."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mgral.config.data import DiskData
from mgral.data.classes import check_boxes_of_classes, settle_classes
from mgral.data.copies import copies_between
from mgral.data.findings import Finding, Findings
from mgral.data.headers import picture_size
from mgral.data.paths import is_file
from mgral.data.records import UNKNOWN_SIZE, Annotation, Coco, Image, Split
from mgral.errors import InputError

LEAST_SIDE = 0.005
"""Boxes with a side below it, in pixels, count as without area: in 32 bits it may become 0, without a logarithm."""
ROUNDING = 0.05
"""Pixels by which a box may leave its image without being counted: annotation files round to 0.01 or less."""

NO_IMAGES = Finding("splits contain no image", "name a split that has images")
REPEATED = Finding("images share an id or a file", "give each its own, once")
MISSING = Finding("images are not on disk", "add them, or correct the folder of the images")
SIZE_READ = Finding("images have no size in the annotations", "it is read from the picture")
NO_PICTURE = Finding("pictures cannot be read", "replace the files")
UNLABELLED = Finding(
    "images have no labels",
    "left out, as no one can label them here; `data.unlabelled: background` takes them for images without objects",
)
EMPTY = Finding(
    "images have no annotation",
    "taken for images without objects; if nobody has looked at them yet, set `data.unlabelled: leave_out`",
)
NOTHING_LABELLED = Finding(
    "splits contain no labelled image", "add their labels, or correct the folder of the labels"
)
COPIES = Finding(
    "training images are test images too",
    "remove them from one split, as a score on images that were trained on means nothing, or set `data.copies: "
    "leave_out` to leave them out of training",
)
COPIES_LEFT_OUT = Finding("training images are test images too", "left out of training (`data.copies`)")
FRACTIONS = Finding(
    "annotation files have boxes within 0..1, or all boxes smaller than a pixel",
    "give pixels; these are fractions of the image",
)
SOME_FRACTIONS = 0.1
"""Share of boxes within the first pixel from which a file is refused; fewer are left out, with a count."""
MOSTLY_OUTSIDE = Finding(
    "annotation files have most of their boxes beyond their images",
    "often corners were given as width and height, or the boxes are of pictures of another size",
)
FROM_ZERO = Finding(
    MOSTLY_OUTSIDE.title,
    "all by a pixel at the left or the top, as if corners were counted from 0: VOC counts from 1, so add 1 to all",
)

DUPLICATES = Finding("boxes are there twice, of one class in one image", "each is used once")
BoxFault = Literal["zero-area", "outside", "partly outside", "within the first pixel"]
LOSE_NO_BOX = {MISSING, NO_PICTURE, COPIES}
"""Faults that remove no box. Only beside these are classes checked, as missing boxes would give wrong messages."""
REPAIRED: dict[BoxFault, Finding] = {
    "zero-area": Finding("boxes have no area", "left out (`data.strict` makes them faults)"),
    "outside": Finding("boxes lie outside of their image", "left out (`data.strict` makes them faults)"),
    "within the first pixel": Finding(
        "boxes lie within the first pixel", "left out, as fractions of the image (`data.strict` makes them faults)"
    ),
    "partly outside": Finding("boxes leave their image", "clipped (`data.strict` makes them faults)"),
}
REFUSED: dict[BoxFault, Finding] = {
    fault: Finding(kind.title, "correct them, or set `data.strict: false` to leave them out or clip them")
    for fault, kind in REPAIRED.items()
}


@dataclass(frozen=True)
class Checked:
    """The two splits of a data set that can be written, and what was repaired."""

    train: Coco
    test: Coco
    findings: Findings
    labelled: tuple[int, ...] | None = None
    """In a round of a project, ids of the labelled training images. None elsewhere, where all are labelled."""


def check_splits(train: Split, test: Split, root: Path, data: DiskData, findings: Findings) -> Checked:
    """Check the two splits of a data set, each by itself and against the other, in one pass.

    Boxes without area, outside of their image or within its first pixel are left out, and boxes that leave their
    image are clipped. All are counted, or are faults with `data.strict`. Images and annotations are sorted by id.

    Raises
    ------
    FaultyDataError
        With all that was found, here and by the reader.
    """
    checked = []
    for split in (train, test):
        _check_images(split, root, findings)
        checked.append(_labelled_images(split, data, findings))
    train, test = checked
    train = _leave_out_copies(train, test, root, data, findings)
    train, test = (_check_boxes(_read_sizes(split, root, data, findings), data, findings) for split in (train, test))
    train_coco, test_coco = settle_classes(train, test, data.classes, findings)
    if not findings.faults.keys() - LOSE_NO_BOX:  # else boxes are missing that are faulty
        check_boxes_of_classes(replace(train, coco=train_coco), replace(test, coco=test_coco), data.classes, findings)
    findings.raise_faults()
    return Checked(_sorted_by_id(train_coco), _sorted_by_id(test_coco), findings)


def with_boxes(coco: Coco) -> Coco:
    """Leave out the images that contain no box to learn from: none at all, or only crowds."""
    learnable = {annotation["image_id"] for annotation in coco["annotations"] if not annotation["iscrowd"]}
    return _with_images(coco, [image for image in coco["images"] if image["id"] in learnable])


def _sorted_by_id(coco: Coco) -> Coco:
    """Sort images and annotations by id."""
    return Coco(
        images=sorted(coco["images"], key=lambda image: image["id"]),
        annotations=sorted(coco["annotations"], key=lambda annotation: annotation["id"]),
        categories=coco["categories"],
    )


def _with_images(coco: Coco, images: list[Image]) -> Coco:
    """Return the data with these images and their annotations only."""
    ids = {image["id"] for image in images}
    annotations = [annotation for annotation in coco["annotations"] if annotation["image_id"] in ids]
    return Coco(images=images, annotations=annotations, categories=coco["categories"])


def _check_images(split: Split, root: Path, findings: Findings) -> None:
    images = split.coco["images"]
    if not images:
        findings.fault(NO_IMAGES, split.source)
    for number in _repeated_values(image["id"] for image in images):
        findings.fault(REPEATED, f"{split.source}: id {number}")
    for name in _repeated_values(image["file_name"] for image in images):
        findings.fault(REPEATED, f"{split.source}: {name}")
    for image in images:
        if not is_file(root / image["file_name"]):
            findings.fault(MISSING, f"{root / image['file_name']} (of {split.source})")


def _repeated_values(values: Iterable[Hashable]) -> list[Hashable]:
    return [value for value, times in Counter(values).items() if times > 1]


def _labelled_images(split: Split, data: DiskData, findings: Findings) -> Split:
    """Leave out the images that nobody has labelled, or take them for images without objects."""
    images: list[Image] = []
    for image in split.coco["images"]:
        labelled = image.pop("labelled", True)
        if labelled or data.unlabelled == "background":
            images.append(image)
        if not labelled:
            kind = EMPTY if data.unlabelled == "background" else UNLABELLED
            findings.repair(kind, f"{image['file_name']} (of {split.source})")
    if split.coco["images"] and not images:
        findings.fault(NOTHING_LABELLED, split.source)
    return replace(split, coco=_with_images(split.coco, images))


def _leave_out_copies(train: Split, test: Split, root: Path, data: DiskData, findings: Findings) -> Split:
    """Note training images that are test images too, and leave them out, or refuse them, as `data.copies` says."""
    copies = copies_between(train.coco["images"], test.coco["images"], root)
    test_names = {image["file_name"] for image in test.coco["images"]}
    copies |= {image["id"]: image["file_name"] for image in train.coco["images"] if image["file_name"] in test_names}
    for image in train.coco["images"]:
        if image["id"] in copies:
            place = f"{image['file_name']} is {copies[image['id']]}"
            if data.copies == "refuse":
                findings.fault(COPIES, place)
            else:
                findings.repair(COPIES_LEFT_OUT, place)
    if data.copies == "refuse":
        return train  # complete, so that its classes are not missed
    return replace(
        train, coco=_with_images(train.coco, [image for image in train.coco["images"] if image["id"] not in copies])
    )


def _read_sizes(split: Split, root: Path, data: DiskData, findings: Findings) -> Split:
    """Read the sizes that the annotations lack from the headers of the pictures."""
    sized: list[Image] = []
    for image in split.coco["images"]:
        path = root / image["file_name"]
        width, height = image["width"], image["height"]
        if not width:
            width, height = _size_on_disk(path, data, findings)
        sized.append({**image, "width": width, "height": height})
    return replace(split, coco=_with_images(split.coco, sized))


def _size_on_disk(path: Path, data: DiskData, findings: Findings) -> tuple[int, int]:
    """Return width and height by the header of a picture; `UNKNOWN_SIZE`, noted, where it cannot be read."""
    if not is_file(path):
        return UNKNOWN_SIZE
    try:
        size = picture_size(path, data.exif)
    except InputError as error:
        findings.fault(NO_PICTURE, str(error))
        return UNKNOWN_SIZE
    findings.repair(SIZE_READ, str(path))
    return size


def _check_boxes(split: Split, data: DiskData, findings: Findings) -> Split:
    """Leave out or clip the boxes that are repeated or not inside their image, and note them."""
    _check_units(split, findings)
    images = {image["id"]: image for image in split.coco["images"]}
    annotations: list[Annotation] = []
    keys: set[tuple[float, ...]] = set()
    beyond = from_zero = 0
    for annotation in split.coco["annotations"]:
        image = images[annotation["image_id"]]
        if (image["width"], image["height"]) == UNKNOWN_SIZE:
            annotations.append(annotation)  # a fault, so nothing is written; but its class has a box
            continue
        key = (image["id"], annotation["category_id"], annotation["iscrowd"], *annotation["bbox"])
        if key in keys:
            findings.repair(DUPLICATES, split.place(annotation, image))
            continue
        keys.add(key)
        fault, box = _clip(annotation["bbox"], image["width"], image["height"])
        if fault:
            place = f"{split.place(annotation, image)}: {fault} in {image['width']} x {image['height']} pixels"
            beyond += fault in ("outside", "partly outside")
            from_zero += _is_from_zero(annotation["bbox"], image["width"], image["height"])
            if data.strict:
                findings.fault(REFUSED[fault], place)
            else:
                findings.repair(REPAIRED[fault], place)
        if box is not None:
            # The area of a mask, where there is one, decides which boxes count as small, medium and large.
            area = box[2] * box[3] if fault else annotation.get("area", box[2] * box[3])
            annotations.append({**annotation, "bbox": box, "area": area})
    if 2 * beyond > len(split.coco["annotations"]):
        kind = FROM_ZERO if data.format == "voc" and from_zero == beyond else MOSTLY_OUTSIDE
        findings.repair(kind, f"{split.source}: {beyond} of {len(split.coco['annotations'])} boxes")
    return replace(split, coco=Coco(**{**split.coco, "annotations": annotations}))


def _check_units(split: Split, findings: Findings) -> None:
    """Note boxes that are fractions of their image and not pixels."""
    boxes = [annotation["bbox"] for annotation in split.coco["annotations"] if any(annotation["bbox"][2:])]
    fractions = sum(map(_is_within_first_pixel, boxes))
    if fractions > SOME_FRACTIONS * len(boxes) or (boxes and all(max(w, h) < 1 for _, _, w, h in boxes)):
        findings.fault(FRACTIONS, f"{split.source}: {fractions or len(boxes)} of {len(boxes)} boxes")


def _is_within_first_pixel(box: list[float]) -> bool:
    """Return whether a box cannot be one in pixels."""
    x, y, width, height = box
    return x + width <= 1 and y + height <= 1 and x >= 0 and y >= 0 and any(value % 1 for value in box)


def _is_from_zero(box: list[float], width: int, height: int) -> bool:
    """Return whether a box leaves its image by one pixel, and at the left or the top only."""
    x, y, w, h = box
    return min(x, y) == -1 and x + w <= width and y + h <= height


def _clip(box: list[float], width: int, height: int) -> tuple[BoxFault | None, list[float] | None]:
    """Return the kind of fault and the box inside the image, or None where nothing is left."""
    x, y, w, h = box
    if min(w, h) < LEAST_SIDE:
        return "zero-area", None
    if _is_within_first_pixel(box):
        return "within the first pixel", None
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width), min(y + h, height)
    overhang = max(left - x, top - y, x + w - right, y + h - bottom)
    if overhang <= 0:
        return None, box
    if min(right - left, bottom - top) < LEAST_SIDE:
        return "outside", None
    return ("partly outside" if overhang > ROUNDING else None), [left, top, right - left, bottom - top]
