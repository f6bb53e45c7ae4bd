"""Reader of COCO JSON (Lin et al., ECCV 2014); image, annotation and category ids stay what they are."""

from pathlib import Path, PurePosixPath
from typing import Any

from mgral.artefacts.files import read_json
from mgral.data.check import Annotation, CategoryRecord, Coco, Image, Split
from mgral.errors import InputError


def read_coco(path: Path, images: str) -> Split:
    """Read one COCO JSON file; `images` is the folder of its images, relative to the data folder.

    Ids of images and categories may start at 0 and have gaps. Annotation ids are moved up where they start below 1,
    as pycocotools takes a match with annotation 0 for no match at all.

    Raises
    ------
    InputError
        Where the file is missing, is not JSON, or an entry lacks what COCO asks for, naming file and entry.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no COCO object; give `images`, `annotations` and `categories`")
    annotations = [_read_annotation(entry, path) for entry in _entries(content, "annotations", path)]
    shift = max(1 - min((annotation["id"] for annotation in annotations), default=1), 0)
    for annotation in annotations:
        annotation["id"] += shift
    return Split(
        str(path),
        Coco(
            images=[_read_image(entry, images, path) for entry in _entries(content, "images", path)],
            annotations=annotations,
            categories=[
                CategoryRecord(id=_integer(entry, "id", path), name=_name(entry, "name", path))
                for entry in _entries(content, "categories", path)
            ],
        ),
    )


def _entries(content: dict[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: `{key}` is not a list of objects; give it as COCO JSON has it")
    return entries


def _read_image(entry: dict[str, Any], folder: str, path: Path) -> Image:
    file_name = PurePosixPath(folder) / _name(entry, "file_name", path)
    if file_name.is_absolute():
        raise InputError(
            f"{path}: {file_name} is an absolute path; give image folders and files relative to `data.root`"
        )
    return Image(
        id=_integer(entry, "id", path),
        file_name=str(file_name),
        width=_integer(entry, "width", path),
        height=_integer(entry, "height", path),
    )


def _read_annotation(entry: dict[str, Any], path: Path) -> Annotation:
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(value) for value in box):
        raise InputError(f"{path}: annotation {_describe(entry)} has the `bbox` {box!r}; give x, y, width and height")
    annotation = Annotation(
        id=_integer(entry, "id", path),
        image_id=_integer(entry, "image_id", path),
        category_id=_integer(entry, "category_id", path),
        bbox=box,
        iscrowd=int(bool(entry.get("iscrowd", 0))),
    )
    if "area" in entry:
        area = entry["area"]
        if not _is_number(area) or not 0 <= area < float("inf"):
            raise InputError(
                f"{path}: annotation {_describe(entry)} has the `area` {area!r}; give pixels, or leave it out"
            )
        annotation["area"] = area
    return annotation


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(entry: dict[str, Any], key: str, path: Path) -> int:
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{path}: entry {_describe(entry)} has the `{key}` {value!r}; give a whole number")
    return value


def _name(entry: dict[str, Any], key: str, path: Path) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{path}: entry {_describe(entry)} has the `{key}` {value!r}; give a name")
    return value


def _describe(entry: dict[str, Any]) -> str:
    return f"with id {entry['id']!r}" if "id" in entry else repr(entry)[:80]
