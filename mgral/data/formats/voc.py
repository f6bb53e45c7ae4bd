"""Reader of the PASCAL VOC layout (Everingham et al., IJCV 2010): Annotations, ImageSets/Main, JPEGImages."""

from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from tqdm import tqdm

from mgral.artefacts.integrity import read_verified
from mgral.config import VocData
from mgral.data.check import Annotation, CategoryRecord, Coco, Image, Split
from mgral.errors import InputError


class _Object(NamedTuple):
    name: str
    difficult: bool
    corners: tuple[float, float, float, float]


class _Key(NamedTuple):
    """Names an image: a stem may repeat between folders of the layout, such as VOC2007 and VOC2012."""

    folder: PurePosixPath
    """Folder of the layout, relative to the root."""
    stem: str


class _Scene(NamedTuple):
    file_name: str
    width: int
    height: int
    objects: tuple[_Object, ...]


def read_voc(root: Path, data: VocData) -> tuple[Split, Split]:
    """Read the lists of ImageSets/Main that a configuration names, and the XML files of their images.

    Ids, which VOC does not have, start at 1: of classes by sorted name over both splits, of images by sorted folder
    and stem over both splits, of annotations by image and order in the XML file.

    VOC counts pixels from 1. A box becomes x = xmin - 1, y = ymin - 1, width = xmax - xmin, height = ymax - ymin, as
    mmdetection, and so the published active-learning code, converts it. VOC's last pixel belongs to the box, which
    would make it one pixel wider, but sets made by others, such as BCCD, write xmin = xmax for a box without area.
    `mgral.evaluation.voc` adds the pixel, as VOC's own scores do. A box whose corners are in the wrong order has no
    area either.

    Objects marked `difficult`, which the annotations note, become crowd boxes, which the evaluation ignores and
    training leaves out, as in VOC's own, unless `train_difficult` or `test_difficult` lets them count.

    Raises
    ------
    InputError
        Where a list, an XML file or an entry of one is missing or damaged, or a list repeats an image, naming the
        file.
    """
    train_keys, test_keys = _read_lists(root, data.train_split), _read_lists(root, data.test_split)
    keys = sorted({*train_keys, *test_keys})
    scenes = {key: _read_scene(root, key) for key in tqdm(keys, "annotations", unit="file", disable=None)}
    image_ids = {key: number for number, key in enumerate(keys, start=1)}
    names = sorted({found.name for scene in scenes.values() for found in scene.objects})
    category_ids = {name: number for number, name in enumerate(names, start=1)}

    def split(names: tuple[str, ...], keys: list[_Key], difficult: bool) -> Split:
        source = " and ".join(str(list_file(root, name)) for name in names)
        return Split(source, _to_coco({key: scenes[key] for key in keys}, image_ids, category_ids, difficult))

    return (
        split(data.train_split, train_keys, data.train_difficult),
        split(data.test_split, test_keys, data.test_difficult),
    )


def layout_folder(root: Path, split: str) -> Path:
    """Return the folder that holds the layout of a split: the root itself, or the one before the slash."""
    return root / PurePosixPath(split).parent


def list_file(root: Path, split: str) -> Path:
    """Return the file that lists the images of a split."""
    return layout_folder(root, split) / "ImageSets" / "Main" / f"{PurePosixPath(split).name}.txt"


def _to_coco(
    scenes: dict[_Key, _Scene], image_ids: dict[_Key, int], category_ids: dict[str, int], difficult_counts: bool
) -> Coco:
    coco = Coco(
        images=[],
        annotations=[],
        categories=[CategoryRecord(id=number, name=name) for name, number in category_ids.items()],
    )
    for key, scene in scenes.items():
        coco["images"].append(
            Image(id=image_ids[key], file_name=scene.file_name, width=scene.width, height=scene.height)
        )
        for found in scene.objects:
            coco["annotations"].append(
                Annotation(
                    id=len(coco["annotations"]) + 1,
                    image_id=image_ids[key],
                    category_id=category_ids[found.name],
                    bbox=_to_box(found.corners),
                    iscrowd=int(found.difficult and not difficult_counts),
                    difficult=int(found.difficult),
                )
            )
    return coco


def _to_box(corners: tuple[float, float, float, float]) -> list[float]:
    xmin, ymin, xmax, ymax = corners
    return [xmin - 1, ymin - 1, max(xmax - xmin, 0), max(ymax - ymin, 0)]


def _read_lists(root: Path, splits: tuple[str, ...]) -> list[_Key]:
    keys: dict[_Key, Path] = {}
    for split in splits:
        path = list_file(root, split)
        for stem in _read_list(path):
            key = _Key(PurePosixPath(split).parent, stem)
            if key in keys:
                raise InputError(f"{path} lists {stem}, which {keys[key]} lists already; list each image once")
            keys[key] = path
    return list(keys)


def _read_list(path: Path) -> list[str]:
    try:
        lines = read_verified(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read ({error}); correct `data.root` and the names of the splits, or add the list"
        ) from None
    return [line.strip() for line in lines if line.strip()]


def _read_scene(root: Path, key: _Key) -> _Scene:
    path = root / key.folder / "Annotations" / f"{key.stem}.xml"
    try:
        scene = ElementTree.fromstring(read_verified(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; add it, or remove its image from the list") from None
    except ElementTree.ParseError as error:
        raise InputError(f"{path} is not XML ({error}); correct its syntax") from None
    return _Scene(
        file_name=f"{key.folder / 'JPEGImages'}/{_text(scene, 'filename', path)}",
        width=int(_number(scene, "size/width", path)),
        height=int(_number(scene, "size/height", path)),
        objects=tuple(_read_object(element, path) for element in scene.findall("object")),
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
