"""Reader of the PASCAL VOC layout (Everingham et al., IJCV 2010): Annotations, ImageSets/Main, JPEGImages."""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mgral.data.check import Annotation, CategoryRecord, Coco, Image, Split
from mgral.errors import InputError
from mgral.integrity import read_verified


class _Object(NamedTuple):
    name: str
    difficult: bool
    corners: tuple[float, float, float, float]


class _Scene(NamedTuple):
    file_name: str
    width: int
    height: int
    objects: tuple[_Object, ...]


def read_voc(root: Path, train_split: str, test_split: str) -> tuple[Split, Split]:
    """Read two lists of ImageSets/Main and the XML files of their images.

    Ids, which VOC does not have, start at 1: of classes by sorted name over both splits, of images by sorted stem
    over both splits, of annotations by image and order in the XML file.

    VOC counts pixels from 1. A box becomes x = xmin - 1, y = ymin - 1, width = xmax - xmin, height = ymax - ymin, as
    mmdetection, and so the published active-learning code, converts it. VOC's last pixel belongs to the box, which
    would make it one pixel wider, but sets made by others, such as BCCD, write xmin = xmax for a box without area. A
    box whose corners are in the wrong order has no area either. Objects marked `difficult` become crowd boxes, which
    the evaluation ignores and training leaves out, as in VOC's own evaluation.

    Raises
    ------
    InputError
        Where a list, an XML file or an entry of one is missing or damaged, naming the file.
    """
    train_list, test_list = (root / "ImageSets" / "Main" / f"{name}.txt" for name in (train_split, test_split))
    train_stems, test_stems = _read_list(train_list), _read_list(test_list)
    stems = sorted({*train_stems, *test_stems})
    scenes = {stem: _read_scene(root / "Annotations" / f"{stem}.xml") for stem in stems}
    image_ids = {stem: number for number, stem in enumerate(stems, start=1)}
    names = sorted({found.name for scene in scenes.values() for found in scene.objects})
    category_ids = {name: number for number, name in enumerate(names, start=1)}
    return (
        Split(train_list, _to_coco(train_stems, scenes, image_ids, category_ids)),
        Split(test_list, _to_coco(test_stems, scenes, image_ids, category_ids)),
    )


def _to_coco(
    stems: list[str], scenes: dict[str, _Scene], image_ids: dict[str, int], category_ids: dict[str, int]
) -> Coco:
    coco = Coco(
        images=[],
        annotations=[],
        categories=[CategoryRecord(id=number, name=name) for name, number in category_ids.items()],
    )
    for stem in stems:
        scene = scenes[stem]
        coco["images"].append(
            Image(id=image_ids[stem], file_name=scene.file_name, width=scene.width, height=scene.height)
        )
        for found in scene.objects:
            coco["annotations"].append(
                Annotation(
                    id=len(coco["annotations"]) + 1,
                    image_id=image_ids[stem],
                    category_id=category_ids[found.name],
                    bbox=_to_box(found.corners),
                    iscrowd=int(found.difficult),
                )
            )
    return coco


def _to_box(corners: tuple[float, float, float, float]) -> list[float]:
    xmin, ymin, xmax, ymax = corners
    return [xmin - 1, ymin - 1, max(xmax - xmin, 0), max(ymax - ymin, 0)]


def _read_list(path: Path) -> list[str]:
    try:
        lines = read_verified(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); correct `data.root` and the names of the splits, or add the list"
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _read_scene(path: Path) -> _Scene:
    try:
        root = ElementTree.fromstring(read_verified(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; add it, or remove its image from the list") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML ({error}); correct its syntax") from None
    return _Scene(
        file_name=f"JPEGImages/{_text(root, 'filename', path)}",
        width=int(_number(root, "size/width", path)),
        height=int(_number(root, "size/height", path)),
        objects=tuple(_read_object(element, path) for element in root.findall("object")),
    )


def _read_object(element: ElementTree.Element, path: Path) -> _Object:
    return _Object(
        name=_text(element, "name", path),
        difficult=(element.findtext("difficult") or "0").strip() == "1",
        corners=(
            _number(element, "bndbox/xmin", path),
            _number(element, "bndbox/ymin", path),
            _number(element, "bndbox/xmax", path),
            _number(element, "bndbox/ymax", path),
        ),
    )


def _text(element: ElementTree.Element, key: str, path: Path) -> str:
    text = (element.findtext(key) or "").strip()
    if not text:
        raise InputError(f"{path}: <{element.tag}> has no <{key}>; add it")
    return text


def _number(element: ElementTree.Element, key: str, path: Path) -> float:
    text = _text(element, key, path)
    try:
        number = float(text)
        if abs(number) < float("inf"):
            return number
    except ValueError:
        pass
    raise InputError(f"{path}: <{key}> is {text!r}; give a finite number")
