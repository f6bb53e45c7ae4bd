"""Reader of COCO JSON of labelling tools: a file, or an archive with several of them."""

from collections.abc import Mapping
from typing import Any

from mgral.data.classes import DIFFERENT
from mgral.data.findings import Finding
from mgral.data.formats.coco import NO_ID, NO_NAME, OTHER_MODE, PREDICTIONS, UNKNOWN
from mgral.data.masks import around_mask
from mgral.data.paths import is_text
from mgral.data.values import flag, identifier, number, whole
from mgral.labelling.exchange.outlines import Corners, around_turned, centre
from mgral.labelling.exchange.reading import NO_NUMBERS, NO_PICTURE, NOT_ALL, Content, Reading
from mgral.labelling.records import Box, Returned

CROWDS = Finding("annotations are crowds (`iscrowd: 1`), as CVAT writes masks", "taken for objects")
DIFFERENT_PICTURES = Finding("pictures share an id", "give each its own, and export again")
_Json = Mapping[str, Any]
_Key = int | str


def read_coco_labels(reading: Reading) -> Content:
    """Read the boxes of each picture; the box around its mask where an annotation has no box."""
    labels: list[Returned] = []
    classes: dict[str, None] = {}
    project = None
    for name in reading.source.ending(".json"):
        place, content = reading.source.place(name), reading.json(name)
        if content is None:
            continue
        images, annotations, categories = (_objects(content, key) for key in ("images", "annotations", "categories"))
        if images is None or annotations is None or categories is None:
            reading.findings.fault(NOT_ALL, f"{place}: `images`, `annotations` and `categories`, lists of objects")
            continue
        names = _read_classes(categories, place, reading)
        classes |= dict.fromkeys(names.values())
        info = content.get("info")
        if isinstance(info, dict) and is_text(info.get("mgral_project")):
            project = info["mgral_project"]
        labels += _read_images(images, annotations, names, place, reading)
    return Content(labels, list(classes), project)


def _objects(content: object, key: str) -> list[_Json] | None:
    """Return a list of objects; None where it is none."""
    values = content.get(key) if isinstance(content, dict) else None
    return values if isinstance(values, list) and all(isinstance(value, dict) for value in values) else None


def _read_classes(categories: list[_Json], place: str, reading: Reading) -> dict[_Key, str]:
    """Return the names of the classes by their ids."""
    names: dict[_Key, str] = {}
    for position, category in enumerate(categories):
        key, name = identifier(category.get("id")), category.get("name")
        if isinstance(name, int | float) and not isinstance(name, bool):
            name = str(name)
        if key is None or not isinstance(name, str) or not is_text(name):
            reading.findings.fault(NO_ID if key is None else NO_NAME, f"{place}: category at place {position}")
        elif names.setdefault(key, name.strip()) != name.strip():
            reading.findings.fault(DIFFERENT, f"{place}: category {key}: {names[key]}, {name}")
    return names


def _read_images(
    images: list[_Json], annotations: list[_Json], names: Mapping[_Key, str], place: str, reading: Reading
) -> list[Returned]:
    """Return an entry for each image, given the names of the classes by their ids."""
    pictures: dict[_Key, Returned] = {}
    boxes: dict[_Key, list[Box]] = {}
    for position, image in enumerate(images):
        key, name = identifier(image.get("id")), image.get("file_name")
        if key is None or not isinstance(name, str) or not is_text(name):
            reading.findings.fault(NO_ID if key is None else NO_PICTURE, f"{place}: image at place {position}")
            continue
        width, height = whole(image.get("width")), whole(image.get("height"))
        size = (width, height) if width and height and width > 0 and height > 0 else None
        if key in pictures and pictures[key].file != name:
            reading.findings.fault(DIFFERENT_PICTURES, f"{place}: image {key}: {pictures[key].file}, {name}")
        pictures[key] = Returned(name, "labelled", (), whole(image.get("mgral_id")), size=size)
        boxes[key] = []
    for position, annotation in enumerate(annotations):
        key, category = identifier(annotation.get("image_id")), identifier(annotation.get("category_id"))
        here = f"{place}: annotation {annotation.get('id', f'at place {position}')}"
        if key is None or key not in pictures or category is None or category not in names:
            wrong_key = "category_id" if key in pictures else "image_id"
            reading.findings.fault(UNKNOWN, f"{here}: {wrong_key} {annotation.get(wrong_key)!r}")
            continue
        _add_annotation(
            boxes[key], annotation, names[category], pictures[key], f"{here} of {pictures[key].file}", reading
        )
    return [
        reading.without_state(Returned(picture.file, "labelled", tuple(boxes[key]), picture.image, size=picture.size))
        for key, picture in pictures.items()
    ]


def _add_annotation(
    boxes: list[Box], annotation: _Json, label: str, image: Returned, place: str, reading: Reading
) -> None:
    """Add the box of an annotation to those of its image, or note why it is left out."""
    if "score" in annotation or annotation.get("bbox_mode", 1) != 1:
        reading.findings.fault(PREDICTIONS if "score" in annotation else OTHER_MODE, place)
        return
    if flag(annotation.get("iscrowd")):
        reading.findings.repair(CROWDS, place)
    bbox, upright = annotation.get("bbox"), True
    if bbox in (None, [], [None] * 4, [0] * 4):
        mask_box = around_mask(annotation.get("segmentation"))
        corners, upright = (Corners(*mask_box) if mask_box else None), False
    else:
        values = [number(value) for value in bbox] if isinstance(bbox, list) else []
        x, y, width, height = values if len(values) == 4 else [None] * 4
        corners = None
        if x is not None and y is not None and width is not None and height is not None:
            corners = Corners(x, y, x + width, y + height)
    turn = _turn(annotation)
    if corners is None or turn is None:
        reading.findings.fault(NO_NUMBERS, f"{place}: bbox {str(bbox)[:80]}")
        return
    if upright and turn % 360:
        corners, upright = around_turned(corners, centre(corners), turn), False
    if upright or reading.takes_shape(place):
        reading.add_box(boxes, label, corners, image.size or reading.size_of(image.file), place)


def _turn(annotation: _Json) -> float | None:
    """Return by how many degrees CVAT turned a box about its centre; None where that is no number."""
    attributes = annotation.get("attributes")
    return number(attributes.get("rotation") or 0) if isinstance(attributes, dict) else 0.0
