"""Reader of the PASCAL VOC layout (Everingham et al., IJCV 2010): Annotations, ImageSets/Main, JPEGImages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from tqdm import tqdm

from mgral.config import VocData
from mgral.data.findings import Findings, Kind
from mgral.data.formats.safe_xml import XmlError, read_xml
from mgral.data.formats.text import text_lines
from mgral.data.records import UNKNOWN_SIZE, Annotation, CategoryRecord, Coco, Image, Split
from mgral.data.values import flag, number, whole

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif")
CLASS_LISTS = ("labels.txt", "classes.txt")
"""Files in the root that list the classes, a name a line, as labelImg and CVAT write them."""

NO_LIST = Kind("lists of images cannot be read", "correct `data.root` and the names of the splits, or add the lists")
BAD_LINE = Kind("lines of lists are no names of images", "give names of images, without suffix")
LISTED_TWICE = Kind("images are listed more than once", "each is used once")
LABEL_COLUMN = Kind("lists have a column behind the names", "the first column is read")
WITH_SUFFIX = Kind("lines of lists have a suffix", "read without it")
BAD_XML = Kind("annotation files cannot be read", "correct or remove them")
BAD_ENTRY = Kind("entries of annotation files are missing, or are not what they should be", "correct them")
NO_FLAG = Kind("objects have a `difficult` that is neither 0 nor 1", "give 0 or 1")
OTHER_FILE_NAME = Kind(
    "annotation files name a picture of another name in <filename>", "the picture of the XML file's own name is used"
)
ONLY_FILE_NAME = Kind(
    "annotation files name a picture of another name in <filename>, and there is none of their own", "it is used"
)
SEVERAL_PICTURES = Kind("images have several pictures of their name", "remove the others, or name one in <filename>")
FRACTIONS = Kind("annotation files have all corners within 0..1", "give pixels; these are fractions of the image")
UNKNOWN_CLASS = Kind("boxes have a class that the class list lacks", "correct the name, or add it to the list")
UNDECLARED = Kind(
    "boxes of the training images have a class that no test image shows",
    "correct the name, or declare all classes under `data.classes`, as the labels of the pool may not decide on them",
)
CLASSES_OF_TEST = Kind(
    "classes are not declared", "taken from the test images' annotations; `data.classes` declares them"
)


class _Object(NamedTuple):
    name: str
    difficult: bool
    corners: tuple[float, float, float, float]


class _Key(NamedTuple):
    """Names an image: a stem may repeat between folders of the layout, such as VOC2007 and VOC2012."""

    folder: PurePosixPath
    """Folder of the layout, relative to the root."""
    stem: str

    @property
    def file(self) -> PurePosixPath:
        return self.folder / "Annotations" / f"{self.stem}.xml"


class _Scene(NamedTuple):
    file_name: str
    width: int
    height: int
    objects: tuple[_Object, ...]
    labelled: bool


@dataclass(frozen=True)
class _Reading:
    """What is read, and where notes go."""

    root: Path
    pictures: dict[PurePosixPath, Mapping[str, list[str]]]
    """By folder of the layout: the pictures of each stem, relative to JPEGImages."""
    findings: Findings


def read_voc(root: Path, data: VocData, findings: Findings) -> tuple[Split, Split]:
    """Read the lists of ImageSets/Main that a configuration names, and the XML files of their images.

    Ids, which VOC does not have, start at 1: of classes by sorted name, of images by sorted folder and stem over both
    splits, of annotations by image and order in the XML file.

    VOC counts pixels from 1. A box becomes x = xmin - 1, y = ymin - 1, width = xmax - xmin, height = ymax - ymin, as
    mmdetection, and so the published active-learning code, converts it. VOC's last pixel belongs to the box, which
    would make it one pixel wider, but sets made by others, such as BCCD, write xmin = xmax for a box without area.
    `mgral.evaluation.voc` adds the pixel, as VOC's own scores do. A box whose corners are in the wrong order has no
    area either.

    Objects marked `difficult`, which the annotations note, become crowd boxes, which the evaluation ignores and
    training leaves out, as in VOC's own, unless `train_difficult` or `test_difficult` lets them count.

    An image and its XML file have the same stem. An image without XML file is not labelled. The classes are those of
    `data.classes`, else of labels.txt or classes.txt in the root, else those that the test images show.

    Faulty entries are noted in `findings` and left out.
    """
    reading = _Reading(root, {}, findings)
    train_keys = _read_lists(root, data.train_split, findings)
    test_keys = _read_lists(root, data.test_split, findings)
    keys = sorted({*train_keys, *test_keys})
    scenes = {key: _read_scene(key, reading) for key in tqdm(keys, "annotations", unit="file", disable=None)}
    image_ids = {key: place for place, key in enumerate(keys, start=1)}
    names = _class_names(data, scenes, train_keys, test_keys, reading)
    category_ids = {name: place for place, name in enumerate(names, start=1)}

    def split(lists: tuple[str, ...], keys: list[_Key], difficult: bool) -> Split:
        source = " and ".join(str(list_file(root, name)) for name in lists)
        coco = _to_coco({key: scenes[key] for key in keys}, image_ids, category_ids, difficult)
        return Split(source, coco, {image_ids[key]: str(root / key.file) for key in keys})

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


def _class_names(
    data: VocData, scenes: Mapping[_Key, _Scene], train: Iterable[_Key], test: Iterable[_Key], reading: _Reading
) -> list[str]:
    """Return the classes in order, behind them other names of boxes, which are noted or left out later."""
    boxes = {key: scene.objects for key, scene in scenes.items()}
    shown = sorted({found.name for objects in boxes.values() for found in objects})
    if data.classes is not None:
        return list(dict.fromkeys([*sorted(data.classes), *shown]))
    lists = [reading.root / name for name in CLASS_LISTS if (reading.root / name).is_file()]
    if lists:
        listed = {line.strip() for line in _text_lines(lists[0], reading.findings) if line.strip()}
        _note_others(boxes, scenes, listed, UNKNOWN_CLASS, reading)
        return list(dict.fromkeys([*sorted(listed), *shown]))
    tested = {found.name for key in test for found in boxes[key]}
    _note_others(boxes, train, tested, UNDECLARED, reading)
    reading.findings.repair(CLASSES_OF_TEST, ", ".join(sorted(tested)))
    return shown


def _note_others(
    boxes: Mapping[_Key, tuple[_Object, ...]], keys: Iterable[_Key], names: set[str], kind: Kind, reading: _Reading
) -> None:
    for key in keys:
        for found in boxes[key]:
            if found.name not in names:
                reading.findings.fault(kind, f"{reading.root / key.file}: {found.name}")


def _to_coco(
    scenes: dict[_Key, _Scene], image_ids: dict[_Key, int], category_ids: dict[str, int], difficult_counts: bool
) -> Coco:
    coco = Coco(
        images=[],
        annotations=[],
        categories=[CategoryRecord(id=number, name=name) for name, number in category_ids.items()],
    )
    for key, scene in scenes.items():
        image = Image(id=image_ids[key], file_name=scene.file_name, width=scene.width, height=scene.height)
        coco["images"].append(image if scene.labelled else {**image, "labelled": False})
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


def _read_lists(root: Path, splits: tuple[str, ...], findings: Findings) -> list[_Key]:
    keys: dict[_Key, None] = {}
    for split in splits:
        path, folder = list_file(root, split), PurePosixPath(split).parent
        for line in _text_lines(path, findings):
            if not line.strip():
                continue
            stem = _stem(line.strip(), path, layout_folder(root, split), findings)
            if stem is None:
                findings.fault(BAD_LINE, f"{path}: {line.strip()[:80]}")
            elif _Key(folder, stem) in keys:
                findings.repair(LISTED_TWICE, f"{path}: {stem}")
            else:
                keys[_Key(folder, stem)] = None
    return list(keys)


def _stem(line: str, path: Path, layout: Path, findings: Findings) -> str | None:
    """Return the name of an image in a line of a list: the line, or its first column, without a suffix."""
    name, column = line, line.split()[-1]
    if column in ("-1", "0", "1", "+1") and len(line.split()) > 1 and not _has_file(layout, line):
        findings.repair(LABEL_COLUMN, f"{path}: {line}")
        name = line.removesuffix(column).rstrip()
    name = name.replace("\\", "/")
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in (*SUFFIXES, ".xml") and not _has_file(layout, name):
        findings.repair(WITH_SUFFIX, f"{path}: {line}")
        name = name.removesuffix(suffix)
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
        return None
    return str(PurePosixPath(name))


def _has_file(layout: Path, stem: str) -> bool:
    try:
        return (layout / "Annotations" / f"{stem}.xml").is_file()
    except (OSError, ValueError):
        return False


def _text_lines(path: Path, findings: Findings) -> list[str]:
    try:
        return text_lines(path)
    except (OSError, UnicodeError) as error:
        findings.fault(NO_LIST, f"{path}: {getattr(error, 'strerror', None) or error}")
        return []


def _read_scene(key: _Key, reading: _Reading) -> _Scene:
    path = reading.root / key.file
    nothing = _Scene(_picture(key, None, reading), 0, 0, (), labelled=False)
    if not path.exists():
        return nothing
    try:
        scene = read_xml(path)
    except (OSError, XmlError) as error:
        reading.findings.fault(BAD_XML, f"{path}: {getattr(error, 'strerror', None) or error}")
        return nothing
    width, height = _size(scene, path, reading.findings)
    return _Scene(
        file_name=_picture(key, (scene.findtext("filename") or "").strip(), reading),
        width=width,
        height=height,
        objects=_read_objects(scene, path, reading.findings),
        labelled=True,
    )


def _picture(key: _Key, file_name: str | None, reading: _Reading) -> str:
    """Return the picture of an image, relative to the root, whether it is there or not.

    That is the one of the same stem as the XML file, of several the one that `file_name` names.
    """
    folder = key.folder / "JPEGImages"
    if key.folder not in reading.pictures:
        reading.pictures[key.folder] = _pictures_by_stem(reading.root / folder)
    named = PurePosixPath((file_name or "").replace("\\", "/")).name
    place = reading.root / key.file
    found = reading.pictures[key.folder].get(key.stem, [])
    parent = PurePosixPath(key.stem).parent
    if named and named not in [PurePosixPath(name).name for name in found] and file_name is not None:
        known = reading.pictures[key.folder].get(str(parent / PurePosixPath(named).stem), [])
        if not found and str(parent / named) in known:
            reading.findings.repair(ONLY_FILE_NAME, f"{place}: {file_name}")
            return str(folder / parent / named)
        if found:
            reading.findings.repair(OTHER_FILE_NAME, f"{place}: {file_name}")
    if len(found) > 1:
        exact = [name for name in found if PurePosixPath(name).name == named]
        if not exact and file_name is not None:
            reading.findings.fault(SEVERAL_PICTURES, f"{place}: {', '.join(found)}")
        found = exact or found
    return str(folder / (found[0] if found else parent / (named or f"{key.stem}.jpg")))


def _pictures_by_stem(folder: Path) -> dict[str, list[str]]:
    by_stem: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            name = PurePosixPath(path.relative_to(folder))
            by_stem.setdefault(str(name.with_suffix("")), []).append(str(name))
    return by_stem


def _size(scene: ElementTree.Element, path: Path, findings: Findings) -> tuple[int, int]:
    """Return width and height, both 0 where they are to be read from the picture."""
    given = [(scene.findtext(f"size/{side}") or "0").strip() for side in ("width", "height")]
    sides = [whole(value) for value in given]
    if None in sides or min(side or 0 for side in sides) < 0:
        findings.fault(BAD_ENTRY, f"{path}: the size {given[0]} x {given[1]}")
        return UNKNOWN_SIZE
    width, height = (side or 0 for side in sides)
    return (width, height) if width and height else (0, 0)


def _read_objects(scene: ElementTree.Element, path: Path, findings: Findings) -> tuple[_Object, ...]:
    objects = []
    for position, element in enumerate(scene.findall("object"), start=1):
        name = (element.findtext("name") or "").strip()
        values = [
            number((element.findtext(f"bndbox/{key}") or "").strip()) for key in ("xmin", "ymin", "xmax", "ymax")
        ]
        difficult = flag(element.findtext("difficult"))
        xmin, ymin, xmax, ymax = values
        place = f"{path}: object {position}"
        if difficult is None:
            findings.fault(NO_FLAG, f"{place}: {element.findtext('difficult')}")
        elif not name:
            findings.fault(BAD_ENTRY, f"{place} has no <name>")
        elif xmin is None or ymin is None or xmax is None or ymax is None:
            text = " ".join((element.findtext(f"bndbox/{key}") or "-") for key in CORNERS)
            findings.fault(BAD_ENTRY, f"{place}, {name}: the corners {text[:80]}")
        else:
            objects.append(_Object(name, bool(difficult), (xmin, ymin, xmax, ymax)))
    corners = [value for found in objects for value in found.corners]
    if corners and max(corners) <= 1 and any(value % 1 for value in corners):
        findings.fault(FRACTIONS, str(path))
        return ()
    return tuple(objects)
