"""Reader of the PASCAL VOC layout (Everingham et al., IJCV 2010): Annotations, ImageSets/Main, JPEGImages."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mgral.compute.progress import tracked
from mgral.config import VocData
from mgral.data.findings import Finding, Findings
from mgral.data.formats.text import text_lines
from mgral.data.formats.voc_xml import VocObject, read_annotation
from mgral.data.paths import PICTURES, is_file, is_text, shown_files, spelling_on_disk
from mgral.data.records import Annotation, CategoryRecord, Coco, Image, Split

CLASS_LISTS = ("labels.txt", "classes.txt")
"""Files in the root that list the classes, a name a line, as labelImg and CVAT write them."""

NO_LIST = Finding(
    "lists of images cannot be read", "correct `data.root` and the names of the splits, or add the lists"
)
BAD_LINE = Finding("lines of lists are no names of images", "give names of images, without suffix")
LISTED_TWICE = Finding("images are listed more than once", "each is used once")
LABEL_COLUMN = Finding("lists have a column behind the names", "the first column is read")
COLUMN = re.compile(r"(\s+|,\s*)([-+]?1|0)$")
WITH_FOLDER = Finding("lines of lists have a folder", "read without it")
WITH_SUFFIX = Finding("lines of lists have a suffix", "read without it")
OTHER_FILE_NAME = Finding(
    "annotation files name a picture of another name in <filename>", "the picture of the XML file's own name is used"
)
ONLY_FILE_NAME = Finding(
    "annotation files name a picture of another name in <filename>, and there is none of their own", "it is used"
)
SEVERAL_PICTURES = Finding(
    "images have several pictures of their name", "remove the others, or name one in <filename>"
)
UNKNOWN_CLASS = Finding("boxes have a class that the class list lacks", "correct the name, or add it to the list")
UNDECLARED = Finding(
    "boxes of the training images have a class that no test image shows",
    "correct the name, or declare all classes under `data.classes`, as the labels of the pool may not decide on them",
)
MISSPELT = Finding("names of `data.classes` differ from those of the boxes", "correct them, or leave those out")
NO_CLASS_LIST = Finding("class lists cannot be read", "save them as text in UTF-8")
TWO_LISTS = Finding("class lists contradict each other", "remove one, or declare the classes under `data.classes`")
CLASSES_OF_TEST = Finding(
    "classes are not declared", "taken from the test images' annotations; `data.classes` declares them"
)


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
    objects: tuple[VocObject, ...]
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
    `mgral.evaluation.voc` adds the pixel, as VOC's own scores do.

    Objects marked `difficult`, which the annotations note, become crowd boxes, which the evaluation ignores and
    training leaves out, as in VOC's own, unless `train_difficult` or `test_difficult` lets them count.

    An image and its XML file have the same stem. An image without XML file is not labelled. The classes are those of
    `data.classes`, else of labels.txt or classes.txt in the root, else those that the test images show.

    Faulty entries are noted in `findings` and left out.
    """
    reading = _Reading(root, {}, findings)
    train_keys = read_lists(root, data.train_split, findings)
    test_keys = read_lists(root, data.test_split, findings)
    keys = sorted({*train_keys, *test_keys})
    scenes = {key: _read_scene(key, reading) for key in tracked(keys, "annotations", len(keys), "file")}
    image_ids = {key: image_id for image_id, key in enumerate(keys, start=1)}
    names = _class_names(data, scenes, train_keys, test_keys, reading)
    category_ids = {name: category_id for category_id, name in enumerate(names, start=1)}

    def split(lists: tuple[str, ...], keys: list[_Key], difficult: bool) -> Split:
        source = " and ".join(str(list_file(root, name)) for name in lists)
        coco = _to_coco({key: scenes[key] for key in keys}, image_ids, category_ids, difficult)
        return Split(source, coco, {image_ids[key]: str(root / key.file) for key in keys})

    return (
        split(data.train_split, train_keys, data.train_difficult),
        split(data.test_split, test_keys, data.test_difficult),
    )


def layout_folder(root: Path, split: str) -> Path:
    """Return the folder that contains the layout of a split: the root itself, or the one before the slash."""
    return root / PurePosixPath(split).parent


def list_file(root: Path, split: str) -> Path:
    """Return the file that lists the images of a split."""
    return layout_folder(root, split) / "ImageSets" / "Main" / f"{PurePosixPath(split).name}.txt"


def _class_names(
    data: VocData, scenes: Mapping[_Key, _Scene], train: Iterable[_Key], test: Iterable[_Key], reading: _Reading
) -> list[str]:
    """Return the classes in order, behind them other names of boxes, which are noted or left out later."""
    boxes = {key: scene.objects for key, scene in scenes.items()}
    box_names = sorted({voc_object.name for objects in boxes.values() for voc_object in objects})
    if data.classes is not None:
        unused, others = sorted({*data.classes} - {*box_names}), sorted({*box_names} - {*data.classes})
        if unused and others:
            place = f"{', '.join(unused)} have no box, while boxes are of {', '.join(others)}"
            reading.findings.fault(MISSPELT, place)
        return list(dict.fromkeys([*sorted(data.classes), *box_names]))
    lists = [reading.root / name for name in CLASS_LISTS if is_file(reading.root / name)]
    if lists:
        contents = [_text_lines(path, NO_CLASS_LIST, reading.findings) for path in lists]
        name_sets = [{line.strip() for line in lines if line.strip()} for lines in contents]
        listed = name_sets[0]
        if any(name_set != listed for name_set in name_sets):
            reading.findings.fault(TWO_LISTS, " and ".join(map(str, lists)))
        _note_unlisted(boxes, scenes, listed, UNKNOWN_CLASS, reading)
        return list(dict.fromkeys([*sorted(listed), *box_names]))
    test_names = {voc_object.name for key in test for voc_object in boxes[key]}
    _note_unlisted(boxes, train, test_names, UNDECLARED, reading)
    reading.findings.repair(CLASSES_OF_TEST, ", ".join(sorted(test_names)))
    return box_names


def _note_unlisted(
    boxes: Mapping[_Key, tuple[VocObject, ...]],
    keys: Iterable[_Key],
    names: set[str],
    kind: Finding,
    reading: _Reading,
) -> None:
    """Note the objects in some images whose class has none of these names."""
    for key in keys:
        for voc_object in boxes[key]:
            if voc_object.name not in names:
                reading.findings.fault(kind, f"{reading.root / key.file}: {voc_object.name}")


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
        for voc_object in scene.objects:
            coco["annotations"].append(
                Annotation(
                    id=len(coco["annotations"]) + 1,
                    image_id=image_ids[key],
                    category_id=category_ids[voc_object.name],
                    bbox=_to_box(voc_object.corners),
                    iscrowd=int(voc_object.difficult and not difficult_counts),
                    difficult=int(voc_object.difficult),
                )
            )
    return coco


def _to_box(corners: tuple[float, float, float, float]) -> list[float]:
    """Return x, y, width, height of corners that are counted from 1."""
    xmin, ymin, xmax, ymax = corners
    return [xmin - 1, ymin - 1, xmax - xmin, ymax - ymin]


def read_lists(root: Path, splits: tuple[str, ...], findings: Findings) -> list[_Key]:
    """Return the folder and the stem of each image that the lists of splits name, once."""
    keys: dict[_Key, None] = {}
    for split in splits:
        path, folder = list_file(root, split), PurePosixPath(split).parent
        for line in _text_lines(path, NO_LIST, findings):
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
    column = COLUMN.search(line)
    name = line
    if column and not _has_image(layout, line):
        findings.repair(LABEL_COLUMN, f"{path}: {line}")
        name = line[: column.start()]
    name = name.replace("\\", "/")
    folder = next(iter(PurePosixPath(name).parts), "")
    if folder in ("JPEGImages", "Annotations") and not _has_image(layout, name):
        findings.repair(WITH_FOLDER, f"{path}: {line}")
        name = name.removeprefix(f"{folder}/")
    suffix = PurePosixPath(name).suffix
    if suffix.lower() in (*PICTURES, ".xml") and not _has_image(layout, name):
        findings.repair(WITH_SUFFIX, f"{path}: {line}")
        name = name.removesuffix(suffix)
    comment = name.startswith("#") and not _has_image(layout, name)
    stem = PurePosixPath(name)
    if comment or not is_text(name) or not stem.name or stem.is_absolute() or ".." in stem.parts:
        return None
    return str(stem)


def _has_image(layout: Path, stem: str) -> bool:
    """Return whether a folder of VOC's layout has the XML or the picture of an image."""
    files = [f"Annotations/{stem}.xml", *(f"JPEGImages/{stem}{suffix}" for suffix in PICTURES)]
    return any(is_file(layout / file) for file in files)


def _text_lines(path: Path, kind: Finding, findings: Findings) -> list[str]:
    try:
        if path.exists() and not is_file(path):
            raise OSError(0, "it is no file")
        return text_lines(path)
    except (OSError, UnicodeError) as error:
        findings.fault(kind, f"{path}: {getattr(error, 'strerror', None) or error}")
        return []


def _read_scene(key: _Key, reading: _Reading) -> _Scene:
    """Return an image and its objects; it is not labelled without an XML file, and has none where that is damaged."""
    path = _xml_file(reading.root / key.file)
    empty = _Scene(_picture(key, None, reading), 0, 0, (), labelled=False)
    if path is None:
        return empty
    annotation = read_annotation(path, reading.findings)
    if annotation is None:
        return empty._replace(labelled=True)
    width, height = annotation.size
    return _Scene(_picture(key, annotation.file_name, reading), width, height, annotation.objects, labelled=True)


def _xml_file(path: Path) -> Path | None:
    """Return the file of an image's labels, as the disk spells it."""
    names = [spelling_on_disk(path.parent, path.name), f"{path.stem}.XML"]
    return next((path.parent / name for name in names if is_file(path.parent / name)), None)


def _picture(key: _Key, file_name: str | None, reading: _Reading) -> str:
    """Return the picture of an image, relative to the root, whether it is there or not.

    That is the one of the same stem as the XML file, of several the one that `file_name` names.
    """
    folder = key.folder / "JPEGImages"
    if key.folder not in reading.pictures:
        reading.pictures[key.folder] = _pictures_by_stem(reading.root / folder)
    named = PurePosixPath((file_name or "").replace("\\", "/")).name
    xml_file = reading.root / key.file
    pictures = reading.pictures[key.folder].get(unicodedata.normalize("NFC", key.stem), [])
    parent = PurePosixPath(key.stem).parent
    if named and named not in [PurePosixPath(name).name for name in pictures] and file_name is not None:
        named_pictures = reading.pictures[key.folder].get(str(parent / PurePosixPath(named).stem), [])
        if not pictures and str(parent / named) in named_pictures:
            reading.findings.repair(ONLY_FILE_NAME, f"{xml_file}: {file_name}")
            return str(folder / parent / named)
        if pictures:
            reading.findings.repair(OTHER_FILE_NAME, f"{xml_file}: {file_name}")
    if len(pictures) > 1:
        exact = [name for name in pictures if PurePosixPath(name).name == named]
        if not exact and file_name is not None:
            reading.findings.fault(SEVERAL_PICTURES, f"{xml_file}: {', '.join(pictures)}")
        pictures = exact or pictures
    return str(folder / (pictures[0] if pictures else parent / (named or f"{PurePosixPath(key.stem).name}.jpg")))


def _pictures_by_stem(folder: Path) -> dict[str, list[str]]:
    """Return the pictures of a folder by their names without suffix."""
    by_stem: dict[str, list[str]] = {}
    for name in shown_files(folder, ".", PICTURES):
        stem = unicodedata.normalize("NFC", str(PurePosixPath(name).with_suffix("")))
        by_stem.setdefault(stem, []).append(name)
    return by_stem
