"""Reader of COCO JSON (Lin et al., ECCV 2014); image, annotation and category ids stay what they are."""

import posixpath
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from mgral.artefacts.files import read_json
from mgral.config import CocoData
from mgral.data.findings import Finding, Findings
from mgral.data.masks import around_mask
from mgral.data.paths import is_file, is_text, spelling_on_disk
from mgral.data.records import LARGEST_SIDE, UNKNOWN_SIZE, Annotation, CategoryRecord, Coco, Image, Split
from mgral.data.values import as_int64, flag, identifier, number, whole
from mgral.errors import InputError

UNREADABLE = Finding("annotation files cannot be read", "replace them, or correct their names under `data`")
NO_LIST = Finding("annotation files lack a list", "give `images`, `annotations` and `categories`, lists of objects")
NO_OBJECT = Finding("entries of annotation files are no objects", "remove them, or give objects")
PREDICTIONS = Finding("annotations have a `score`", "give labels: these are the boxes that a detector found")
OTHER_MODE = Finding("annotations have a `bbox_mode` other than 1", "give x, y, width, height: `bbox_mode: 1`")
IGNORED = Finding("annotations have `ignore: 1`", "taken for crowds, which are neither learnt nor scored")
FROM_MASK = Finding("annotations have a mask and no box", "the box around the mask is used")
NO_ID = Finding("entries have no id", "give each image and each class an integer, or a text, as `id`")
NO_NAME = Finding("entries have no name", "give each image a `file_name`, and each class a `name`")
ABSOLUTE = Finding("images are named by an absolute path", "name them relative to the folder of the images")
OUTSIDE_ROOT = Finding(
    "images are named by a path that leaves the data folder",
    "name them inside it, or set `data.root` to one above",
)
NO_SIZE = Finding(
    "images have a size that is not valid", "give `width` and `height` as whole pixels, or leave both out"
)
NO_BOX = Finding("annotations have a `bbox` that is not valid", "give x, y, width, height as numbers, sizes from 0")
NO_CROWD_FLAG = Finding("annotations have an `iscrowd` that is neither 0 nor 1", "give 0, or 1 for a crowd")
UNKNOWN = Finding(
    "annotations name an image or a class that is not in their file", "correct or remove them, or add what they name"
)
WITHOUT_BOX = Finding("annotations have no box", "left out (`data.strict` makes them faults)")
WITHOUT_BOX_STRICT = Finding(
    "annotations have no box", "give them one, or set `data.strict: false` to leave them out"
)
NO_AREA = Finding("annotations have an `area` that cannot be the object's", "the area of the box is taken")
THINNEST = 0.001
"""Least part of its box that an object covers. An area below it, as 0, 1 or a share of the image, stands for none."""
ROUNDED = 2
"""Pixels that a mask may be wider and higher than its box: sides are rounded, or counted without the last pixel."""
RENUMBERED = Finding(
    "annotation files have ids of annotations that repeat, or are no positive numbers", "numbered anew"
)
RENAMED_IDS = Finding("annotation files have ids that are no numbers of 64 bits", "numbered; the ids are kept beside")
ACCENTS = Finding("image names write accents in another way than the disk", "such files are there, and are used")
BACKSLASHES = Finding("image names have backslashes", "read as slashes, as such files are there")
CONVERTED = Finding("fields hold whole numbers as text, or with a decimal point", "read as whole numbers")
TWICE = Finding("image entries are there twice, alike", "used once")

Ids = Mapping[int | str, int]


@dataclass(frozen=True)
class _File:
    """One annotation file, and what its entries are checked against."""

    path: Path
    content: Mapping[str, list[dict[str, Any]]]
    root: Path
    folder: str
    """Folder of the images, relative to the root."""
    categories: Ids
    strict: bool
    findings: Findings
    converted: Counter[str] = field(default_factory=Counter)
    """Number of integers that are written in another way, such as `3.0` or `"3"`, by field."""

    def counted(self, entry: Mapping[str, Any], key: str, number: int | None) -> int | None:
        """Return `number`, the integer that a value stands for, and count the value if it is not written as one."""
        if number is not None and type(entry.get(key)) is not int and entry.get(key) is not None:
            self.converted[key] += 1
        return number

    def identifier(self, entry: Mapping[str, Any], key: str) -> int | str | None:
        """Return an id; a text that means a number is counted."""
        entry_id = identifier(entry.get(key))
        return self.counted(entry, key, entry_id) if isinstance(entry_id, int) else entry_id

    def place(self, entry: Mapping[str, Any], entry_type: str, position: int) -> str:
        """Return how messages name an entry: by its id or, without one, by its position in its list."""
        if "id" not in entry:
            return f"{self.path}: {entry_type} at place {position} of its list"
        entry_id = entry["id"]
        return f"{self.path}: {entry_type} {repr(entry_id[:80]) if isinstance(entry_id, str) else str(entry_id)[:80]}"


def read_coco(root: Path, data: CocoData, findings: Findings) -> tuple[Split, Split]:
    """Read the two COCO JSON files that a configuration names.

    Ids of images and classes may start at 0 and have gaps. Where one of them is a text, or a number of more than 64
    bits, all of its kind are numbered from 1. Annotation ids are moved up where they start below 1, as pycocotools
    takes a match with annotation 0 for no match at all, and numbered again where they repeat.

    Faulty entries are noted in `findings` and left out.

    Raises
    ------
    FaultyDataError
        Where a file cannot be read at all.
    """
    paths = root / data.train_annotations, root / data.test_annotations
    contents = [load_lists(path, findings) for path in paths]
    if findings.faults.keys() & {UNREADABLE, NO_LIST}:
        findings.raise_faults()
    keys = [identifier(entry.get("id")) for content in contents for entry in content["categories"]]
    categories = as_int64(key for key in keys if key is not None)
    renamed = [key for key in categories if categories[key] != key]
    if renamed:
        findings.repair(RENAMED_IDS, f"{paths[0]} and {paths[1]}: {len(categories)} classes, such as {renamed[0]!r}")
    train, test = (
        _read_split(_File(path, content, root, folder, categories, data.strict, findings))
        for path, content, folder in zip(paths, contents, (data.train_images, data.test_images), strict=True)
    )
    return train, test


def load_lists(path: Path, findings: Findings) -> dict[str, list[dict[str, Any]]]:
    """Return the lists of images, annotations and categories of a file; empty ones, and a note, where it has none."""
    lists: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": [], "categories": []}
    try:
        if path.exists() and not is_file(path):
            raise InputError(f"{path}: it is no file")
        content = read_json(path, unique_keys=True)
    except PermissionError as error:  # of a folder above
        findings.fault(UNREADABLE, f"{path}: {error.strerror}")
        return lists
    except InputError as error:
        findings.fault(UNREADABLE, str(error))
        return lists
    for key in lists:
        entries = content.get(key) if isinstance(content, dict) else None
        if isinstance(entries, list):
            lists[key] = [entry for entry in entries if isinstance(entry, dict)]
            for position, entry in enumerate(entries):
                if not isinstance(entry, dict):
                    findings.fault(NO_OBJECT, f"{path}: entry {position} of `{key}`: {str(entry)[:40]}")
        else:
            findings.fault(NO_LIST, f"{path}: `{key}`")
    return lists


def _read_split(file: _File) -> Split:
    ids, images = _read_images(file)
    annotations = [
        annotation
        for position, entry in enumerate(file.content["annotations"])
        if (annotation := _read_annotation(entry, position, ids, file))
    ]
    _number_annotations(annotations, file)
    categories = {
        (category["id"], category["name"]): category
        for position, entry in enumerate(file.content["categories"])
        if (category := _read_category(entry, position, file))
    }
    for key, times in sorted(file.converted.items()):
        file.findings.repair(CONVERTED, f"{file.path}: `{key}`, {times} times")
    annotated_keys = {identifier(entry.get("image_id")) for entry in file.content["annotations"]}
    annotated_ids = {image_id for key, image_id in ids.items() if key in annotated_keys}
    for image in images:
        image["labelled"] = image["id"] in annotated_ids
    return Split(str(file.path), Coco(images=images, annotations=annotations, categories=list(categories.values())))


def _read_images(file: _File) -> tuple[Ids, list[Image]]:
    images: list[tuple[int | str, Image]] = []
    distinct: set[tuple[Any, ...]] = set()
    for position, entry in enumerate(file.content["images"]):
        key = file.identifier(entry, "id")
        if key is None:
            file.findings.fault(NO_ID, file.place(entry, "image", position))
            continue
        name = _file_name(entry, position, file)
        width, height = _size(entry, position, file)
        if (key, name, width, height) in distinct:
            file.findings.repair(TWICE, file.place(entry, "image", position))
        elif name:
            images.append((key, Image(id=0, file_name=name, width=width, height=height)))
        distinct.add((key, name, width, height))
    ids = as_int64(dict.fromkeys(key for key, *_ in distinct))
    for key, image in images:
        image["id"] = ids[key]
        if ids[key] != key:
            image["source_id"] = str(key)
    if any(ids[key] != key for key, _ in images):
        file.findings.repair(RENAMED_IDS, f"{file.path}: {len(images)} images, the first being {images[0][0]!r}")
    return ids, [image for _, image in images]


def _file_name(entry: dict[str, Any], position: int, file: _File) -> str | None:
    """Return the path of an image from the data folder; None where there is none that can be used."""
    file_name = entry.get("file_name")
    if not isinstance(file_name, str) or not is_text(file_name):
        file.findings.fault(NO_NAME, file.place(entry, "image", position))
        return None
    if file_name.startswith("/") or PureWindowsPath(file_name).drive:
        file.findings.fault(ABSOLUTE, f"{file.place(entry, 'image', position)}: {file_name}")
        return None
    name = posixpath.normpath(posixpath.join(file.folder, file_name))
    if not is_file(file.root / name) and (spelled := spelling_on_disk(file.root, name)) != name:
        file.findings.repair(ACCENTS, f"{file.path}: {file_name}")
        name = spelled
    if "\\" in name and not is_file(file.root / name):
        with_slashes = posixpath.normpath(posixpath.join(file.folder, file_name.replace("\\", "/")))
        if is_file(file.root / with_slashes):
            file.findings.repair(BACKSLASHES, f"{file.path}: {file_name}")
            name = with_slashes
    if name.startswith(("../", "/")):
        file.findings.fault(OUTSIDE_ROOT, f"{file.place(entry, 'image', position)}: {file_name}")
        return None
    return name


def _size(entry: dict[str, Any], position: int, file: _File) -> tuple[int, int]:
    """Return width and height, both 0 where they are to be read from the picture."""
    values = [entry.get("width") or 0, entry.get("height") or 0]
    sides = [file.counted(entry, key, whole(value)) for key, value in zip(("width", "height"), values, strict=True)]
    if None in sides or min(side or 0 for side in sides) < 0 or max(side or 0 for side in sides) > LARGEST_SIDE:
        place = file.place(entry, "image", position)
        file.findings.fault(NO_SIZE, f"{place}: {str(values[0])[:20]} x {str(values[1])[:20]} pixels")
        return UNKNOWN_SIZE
    width, height = (side or 0 for side in sides)
    return (width, height) if width and height else (0, 0)


def _read_category(entry: dict[str, Any], position: int, file: _File) -> CategoryRecord | None:
    key, name = file.identifier(entry, "id"), entry.get("name")
    if key is None:
        file.findings.fault(NO_ID, file.place(entry, "category", position))
        return None
    if isinstance(name, int | float) and not isinstance(name, bool):
        name = str(name)
    if not isinstance(name, str) or not is_text(name):
        file.findings.fault(NO_NAME, file.place(entry, "category", position))
        return None
    return CategoryRecord(id=file.categories[key], name=name.strip())


def _read_annotation(entry: dict[str, Any], position: int, images: Ids, file: _File) -> Annotation | None:
    """Return a box; None, and a note, where there is none."""
    image, category = file.identifier(entry, "image_id"), file.identifier(entry, "category_id")
    if image is None or image not in images or category is None or category not in file.categories:
        wrong = (
            ("image_id", entry.get("image_id")) if image not in images else ("category_id", entry.get("category_id"))
        )
        file.findings.fault(UNKNOWN, f"{file.place(entry, 'annotation', position)}: {wrong[0]} {wrong[1]!r}")
        return None
    if "score" in entry or entry.get("bbox_mode", 1) != 1:
        kind = PREDICTIONS if "score" in entry else OTHER_MODE
        file.findings.fault(kind, file.place(entry, "annotation", position))
        return None
    box = _read_box(entry, position, file)
    if box is None:
        return None
    crowd = _read_crowd(entry, position, file)
    if crowd is None:
        return None
    annotation = Annotation(
        id=whole(entry.get("id")) or 0,
        image_id=images[image],
        category_id=file.categories[category],
        bbox=box,
        iscrowd=crowd,
    )
    if (area := _area(entry, position, box[2], box[3], file)) is not None:
        annotation["area"] = area
    return annotation


def _read_box(entry: dict[str, Any], position: int, file: _File) -> list[float] | None:
    """Return x, y, width and height of an annotation, or of its mask; None, and a note, where there are none."""
    bbox = entry.get("bbox")
    if bbox in (None, [], [None] * 4, [0] * 4) and (corners := around_mask(entry.get("segmentation"))):
        file.findings.repair(FROM_MASK, file.place(entry, "annotation", position))
        left, top, right, bottom = corners
        bbox = [left, top, right - left, bottom - top]
    if bbox in (None, [], [None] * 4):
        place = f"{file.place(entry, 'annotation', position)} of image {entry.get('image_id')!r}"
        if file.strict:
            file.findings.fault(WITHOUT_BOX_STRICT, place)
        else:
            file.findings.repair(WITHOUT_BOX, place)
        return None
    box = [number(value) for value in bbox] if isinstance(bbox, list) else []
    x, y, width, height = box if len(box) == 4 else (None,) * 4
    if isinstance(bbox, list) and any(isinstance(value, str) for value in bbox):
        file.converted["bbox"] += 1
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        place = f"{file.place(entry, 'annotation', position)} of image {entry.get('image_id')!r}"
        file.findings.fault(NO_BOX, f"{place}: {str(bbox)[:80]}")
        return None
    return [x, y, width, height]


def _read_crowd(entry: dict[str, Any], position: int, file: _File) -> int | None:
    """Return 1 for a box that stands for many objects or is not to be scored, 0 for others; None, and a note, where
    that is not clear."""
    crowd = file.counted(entry, "iscrowd", flag(entry.get("iscrowd")))
    if crowd is None:
        place = file.place(entry, "annotation", position)
        file.findings.fault(NO_CROWD_FLAG, f"{place}: {entry.get('iscrowd')!r}")
        return None
    if flag(entry.get("ignore")):
        file.findings.repair(IGNORED, file.place(entry, "annotation", position))
        crowd = 1
    return crowd


def _area(entry: dict[str, Any], position: int, width: float, height: float, file: _File) -> float | None:
    """Return the area of an object in a box; None, and a note, where the one that is given cannot be."""
    if "area" not in entry:
        return None
    area = number(entry["area"])
    least, most = THINNEST * width * height, (width + ROUNDED) * (height + ROUNDED)
    if area is not None and least <= area <= most:
        return area
    place = f"{file.place(entry, 'annotation', position)}: {repr(entry['area'])[:40]}"
    file.findings.repair(NO_AREA, f"{place} in {width:g} x {height:g} pixels")
    return None


def _number_annotations(annotations: list[Annotation], file: _File) -> None:
    """Give every annotation an id of its own from 1 up."""
    ids = Counter(whole(entry.get("id")) for entry in file.content["annotations"])
    highest = max((annotation_id or 0 for annotation_id in ids), default=0)
    if None in ids or any(times > 1 for times in ids.values()) or highest > 2**62:
        file.findings.repair(RENUMBERED, str(file.path))
        for new_id, annotation in enumerate(annotations, start=1):
            annotation["id"] = new_id
        return
    shift = max(1 - min((annotation_id or 0 for annotation_id in ids), default=1), 0)
    if shift:
        file.findings.repair(RENUMBERED, str(file.path))
    for annotation in annotations:
        annotation["id"] += shift
