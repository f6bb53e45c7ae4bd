"""Reader of the Ultralytics YOLO layout: data.yaml, pictures in images/, a text file for each in labels/."""

import errno
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from mgral.config import YoloData
from mgral.data.findings import Findings, Kind
from mgral.data.formats.text import text_lines
from mgral.data.formats.yolo_yaml import SUFFIXES, Listing, read_listing
from mgral.data.headers import picture_size
from mgral.data.paths import is_file
from mgral.data.records import Annotation, CategoryRecord, Coco, Image, Split
from mgral.data.values import whole
from mgral.errors import InputError

BEYOND = 0.01
"""By which a number may lie outside of 0..1, as in Ultralytics: boxes are clipped to the picture later."""

BAD_FILE = Kind("label files cannot be read", "save them as text in UTF-8, or remove them")
SHARED = Kind("pictures have the same label file", "give each a name of its own before its suffix")
BAD_LINE = Kind("lines of labels are not as they should be", "give `class x y width height`, blanks between them")
COMMAS = Kind("lines of labels have commas", "separate numbers by blanks, and write decimal points")
BAD_CLASS = Kind("lines of labels do not begin with a whole number", "give the number of the class in data.yaml")
UNKNOWN_CLASS = Kind("lines of labels have a class that data.yaml lacks", "correct them; classes count from 0")
PREDICTIONS = Kind(
    "lines of labels have a sixth number", "remove it: it is the confidence of a prediction, and labels have none"
)
NO_FRACTIONS = Kind(
    "lines of labels have numbers outside of 0..1",
    "give fractions of the picture's width and height; larger numbers are mostly pixels",
)
POLYGONS = Kind("lines of labels are polygons, or boxes that are turned", "the box around each is used")
KEYPOINTS = Kind("lines of labels have keypoints", "the box is used")
POSE = Kind(
    "lines of labels may be keypoints, or polygons",
    "give `kpt_shape` in data.yaml for keypoints; polygons of keypoints cannot be told from them",
)
CAPITALS = Kind("label files have a suffix in capitals", "read as .txt")
TURNED_BOX = 9
"""Words in the line of a turned box."""
REPEATED = Kind("lines of labels are there twice, alike", "used once")
NO_PICTURE = Kind("label files have no picture", "left out")


class _Box(NamedTuple):
    """A box in fractions of the picture."""

    category: int
    left: float
    top: float
    width: float
    height: float


@dataclass
class _Labels:
    """What is read, and where notes go."""

    root: Path
    listing: Listing
    findings: Findings
    folders: dict[str, str] = field(default_factory=dict)
    """Of label files: the folder of their pictures."""
    polygons: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines that were read as polygons, by place."""


def read_yolo(root: Path, data: YoloData, findings: Findings) -> tuple[Split, Split]:
    """Read the two splits that a configuration names of a data.yaml, and the label files of their pictures.

    A picture's labels are in the file of its name with the last folder `images` replaced by `labels`, and beside it
    where there is no such folder. A picture without such a file is not labelled; one with an empty file has been
    looked at and shows no object.

    Class ids are the numbers in data.yaml. Other ids, which YOLO does not have, start at 1: of images by sorted path
    over both splits, of annotations by image and line. Sizes are read from the pictures' headers, and are left at 0
    where that fails.

    Faulty lines are noted in `findings` and left out.

    Raises
    ------
    FaultyDataError
        Where data.yaml cannot be read at all.
    """
    listing = read_listing(root, data, findings)
    labels = _Labels(root, listing, findings)
    pictures = sorted({*listing.train, *listing.test})
    _note_shared(pictures, labels)
    ids = {name: number for number, name in enumerate(pictures, start=1)}
    boxes = {name: _read_labels(name, labels) for name in tqdm(pictures, "labels", unit="file", disable=None)}
    _note_left_over(labels, data)
    _note_keypoints(labels)
    sizes = {name: _size(root / name, data) for name in tqdm(pictures, "headers", unit="image", disable=None)}
    categories = [CategoryRecord(id=number, name=name) for number, name in sorted(listing.names.items())]
    train, test = (
        Split(
            f"{root / data.data_yaml}, {split}",
            Coco(
                images=[_image(ids[name], name, sizes[name], boxes[name] is not None) for name in names],
                annotations=list(_annotations({ids[name]: (boxes[name] or (), sizes[name]) for name in names})),
                categories=categories,
            ),
            {ids[name]: str(root / label_file(name)) for name in names},
        )
        for split, names in (("training images", listing.train), ("test images", listing.test))
    )
    return train, test


def label_file(picture: str) -> str:
    """Return the path of a picture's labels, relative to the root as the picture's is."""
    before, found, behind = f"/{picture}".rpartition("/images/")
    place = f"{before}/labels/{behind}" if found else f"/{picture}"
    return str(PurePosixPath(place[1:]).with_suffix(".txt"))


def _image(number: int, name: str, size: tuple[int, int], labelled: bool) -> Image:
    image = Image(id=number, file_name=name, width=size[0], height=size[1])
    return image if labelled else {**image, "labelled": False}


def _size(path: Path, data: YoloData) -> tuple[int, int]:
    """Return width and height, both 0 where the picture cannot be read, which the checks of all data sets note."""
    try:
        return picture_size(path, data.exif)
    except InputError:
        return 0, 0


def _annotations(images: Mapping[int, tuple[Iterable[_Box], tuple[int, int]]]) -> Iterator[Annotation]:
    number = 0
    for image, (boxes, (width, height)) in images.items():
        for box in boxes if width else ():
            number += 1
            yield Annotation(
                id=number,
                image_id=image,
                category_id=box.category,
                bbox=[box.left * width, box.top * height, box.width * width, box.height * height],
                iscrowd=0,
            )


def _read_labels(picture: str, labels: _Labels) -> list[_Box] | None:
    """Return the boxes in a label file; None where there is no such file."""
    name = label_file(picture)
    labels.folders[str(PurePosixPath(name).parent)] = str(PurePosixPath(picture).parent)
    path = labels.root / name
    if not is_file(path) and is_file(path.with_suffix(".TXT")):
        path = path.with_suffix(".TXT")
        labels.findings.repair(CAPITALS, str(path))
    try:
        lines = text_lines(path)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return None
        labels.findings.fault(BAD_FILE, f"{path}: {getattr(error, 'strerror', None) or error}")
        return []
    boxes: list[_Box] = []
    seen: set[tuple[str, ...]] = set()
    for number, line in enumerate(lines, start=1):
        words = tuple(line.replace("\0", "?").split())
        if not words:
            continue
        found, repair = _read_line(words, labels.listing)
        place = f"{path}:{number}"
        if isinstance(found, Kind):
            labels.findings.fault(found, f"{place}: {' '.join(words)[:80]}")
        elif words in seen:
            labels.findings.repair(REPEATED, place)
        else:
            boxes.append(found)
            if repair:
                labels.findings.repair(repair, place)
            if repair is POLYGONS:
                labels.polygons[place] = words
        seen.add(words)
    return boxes


def _read_line(words: tuple[str, ...], listing: Listing) -> tuple[_Box | Kind, Kind | None]:
    """Return the box of a line, or what is wrong with it, and what had to be done to read it."""
    if any("," in word for word in words):
        return COMMAS, None
    category = whole(words[0])
    if category is None:
        return BAD_CLASS, None
    if category not in listing.names:
        return UNKNOWN_CLASS, None
    try:
        numbers = list(map(float, words[1:]))
        if any("_" in word for word in words):
            return BAD_LINE, None
    except ValueError:
        return BAD_LINE, None
    if not all(map(math.isfinite, numbers)):
        return BAD_LINE, None
    boxed = len(numbers) == 4
    if listing.keypoints and len(numbers) == 4 + listing.keypoints:
        boxed, numbers = True, numbers[:4]
    elif len(numbers) == 5:
        return PREDICTIONS, None
    elif not boxed and (len(numbers) < 6 or len(numbers) % 2 or listing.keypoints):
        return BAD_LINE, None
    if min(numbers) < -BEYOND or max(numbers) > 1 + BEYOND:
        return NO_FRACTIONS, None
    if not boxed:
        across, down = numbers[::2], numbers[1::2]
        left, top = min(across), min(down)
        return _Box(category, left, top, max(across) - left, max(down) - top), POLYGONS
    x, y, width, height = numbers
    if width < 0 or height < 0:
        return BAD_LINE, None
    return _Box(category, x - width / 2, y - height / 2, width, height), KEYPOINTS if len(words) > 5 else None


def _note_keypoints(labels: _Labels) -> None:
    """Note lines that read as a box and its keypoints as well as a polygon, where all of them do.

    A data set of keypoints has as many of them in each line. Polygons of four points are turned boxes.
    """
    lines = labels.polygons.values()
    lengths = {len(words) for words in lines}
    if len(lengths) == 1 and lengths != {TURNED_BOX} and all(_may_be_keypoints(words) for words in lines):
        for place, words in labels.polygons.items():
            labels.findings.fault(POSE, f"{place}: {' '.join(words)[:80]}")


def _may_be_keypoints(words: tuple[str, ...]) -> bool:
    """Return whether a line is a box within the picture that the rest of the line lies in and fills half of."""
    x, y, width, height, *rest = map(float, words[1:])
    step = 3 if len(rest) % 3 == 0 and all(value in (0, 1, 2) for value in rest[2::3]) else 2
    across, down = rest[::step], rest[1::step]
    sides = ((x, width, across), (y, height, down))
    inside = all(
        max(abs(middle - 0.5) + size / 2 - 0.5, *(abs(value - middle) - size / 2 for value in values)) <= BEYOND
        for middle, size, values in sides
    )
    return inside and any(max(values) - min(values) > size / 2 for _, size, values in sides)


def _note_shared(pictures: Iterable[str], labels: _Labels) -> None:
    pictures_of = Counter(map(label_file, pictures))
    for name, times in pictures_of.items():
        if times > 1 and is_file(labels.root / name):
            labels.findings.fault(SHARED, f"{labels.root / name}: {times} pictures")


def _note_left_over(labels: _Labels, data: YoloData) -> None:
    """Note label files whose picture is nowhere."""
    for folder, pictures in sorted(labels.folders.items()):
        if not (labels.root / folder).is_dir() or folder == pictures:
            continue
        stems = {Path(name).stem for name in _names_in(labels.root / pictures) if name.lower().endswith(SUFFIXES)}
        for name in sorted(_names_in(labels.root / folder)):
            if name.endswith(".txt") and name != "classes.txt" and Path(name).stem not in stems:
                labels.findings.repair(NO_PICTURE, str(labels.root / folder / name))


def _names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
