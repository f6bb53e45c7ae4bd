"""Reader of the Ultralytics YOLO layout: data.yaml, pictures in images/, a text file for each in labels/."""

import errno
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from statistics import median
from typing import NamedTuple

from mgral.compute.progress import tracked
from mgral.config import YoloData
from mgral.data.findings import Finding, Findings
from mgral.data.formats.text import text_lines
from mgral.data.formats.yolo_yaml import SUFFIXES, Listing, read_listing
from mgral.data.headers import picture_size
from mgral.data.paths import is_file
from mgral.data.records import Annotation, CategoryRecord, Coco, Image, Split
from mgral.data.values import number, whole
from mgral.errors import InputError

BEYOND = 0.01
"""Tolerance for coordinates outside of 0..1, as in Ultralytics; boxes are clipped to the picture later."""

BAD_FILE = Finding("label files cannot be read", "save them as text in UTF-8, or remove them")
SHARED = Finding("pictures have the same label file", "give each a name of its own before its suffix")
BAD_LINE = Finding("lines of labels are not as they should be", "give `class x y width height`, blanks between them")
COMMAS = Finding("lines of labels have commas", "separate numbers by blanks, and write decimal points")
BAD_CLASS = Finding("lines of labels do not begin with an integer", "give the number of the class in data.yaml")
UNKNOWN_CLASS = Finding("lines of labels have a class that data.yaml lacks", "correct them; classes count from 0")
PREDICTIONS = Finding(
    "lines of labels have a sixth number", "remove it: it is the confidence of a prediction, and labels have none"
)
NO_FRACTIONS = Finding(
    "lines of labels have numbers outside of 0..1",
    "give fractions of the picture's width and height; larger numbers are mostly pixels",
)
POLYGONS = Finding("lines of labels are polygons, or boxes that are turned", "the box around each is used")
KEYPOINTS = Finding("lines of labels have keypoints", "the box is used")
POSE = Finding(
    "lines of labels may be keypoints, or polygons",
    "give `kpt_shape` in data.yaml for keypoints; polygons of keypoints cannot be told from them",
)
CAPITALS = Finding("label files have a suffix in capitals", "read as .txt")
MOST = 0.9
"""Share of the lines that must read as keypoints: single points may lie outside of their box."""
SPANNED = 0.25
"""Fraction of a box that keypoints span at least (median). Polygons span less: read as keypoints, the size of their
box is the distance of a point from the picture's corner."""
FEWEST = 5
"""Fewest lines that can tell keypoints from polygons if each line has a single point."""
REPEATED = Finding("lines of labels give a box that is there already", "used once")
BESIDE = Finding("label files lie beside their pictures", "read there, as their folder in `labels` has none")
NO_PICTURE = Finding("label files have no picture", "add the pictures, or remove the label files")
CLASS_LIST = "classes.txt"
"""Where labelImg lists the classes, beside the labels."""


class FractionBox(NamedTuple):
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
    """Folder of the pictures, by the folder of their label files."""
    polygons: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines that were read as polygons, by place."""


def read_yolo(root: Path, data: YoloData, findings: Findings) -> tuple[Split, Split]:
    """Read the two splits that a configuration names of a data.yaml, and the label files of their pictures.

    A picture's labels are in the file of its name with the last folder `images` replaced by `labels`, and beside it
    where that folder has none. A picture without such a file is not labelled; one with an empty file has
    been looked at and shows no object.

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
    label_files = _label_files(pictures, labels)
    _note_shared_files(label_files, labels)
    ids = {name: image_id for image_id, name in enumerate(pictures, start=1)}
    boxes = {
        name: _read_labels(name, file, labels)
        for name, file in tracked(label_files.items(), "labels", len(label_files), "file")
    }
    _note_left_over(labels)
    _note_polygons(labels)
    sizes = {name: _size(root / name, data) for name in tracked(pictures, "headers", len(pictures), "image")}
    categories = [CategoryRecord(id=key, name=name) for key, name in sorted(listing.names.items())]
    train, test = (
        Split(
            f"{root / data.data_yaml}, {split}",
            Coco(
                images=[_image(ids[name], name, sizes[name], boxes[name] is not None) for name in names],
                annotations=list(
                    _number_annotations({ids[name]: (boxes[name] or (), sizes[name]) for name in names})
                ),
                categories=categories,
            ),
            {ids[name]: str(root / label_files[name]) for name in names},
        )
        for split, names in (("training images", listing.train), ("test images", listing.test))
    )
    return train, test


def label_file(picture: str) -> str:
    """Return the path of a picture's labels, relative to the root as the picture's is."""
    before, separator, after = f"/{picture}".rpartition("/images/")
    path = f"{before}/labels/{after}" if separator else f"/{picture}"
    return str(PurePosixPath(path[1:]).with_suffix(".txt"))


def _label_files(pictures: Iterable[str], labels: _Labels) -> dict[str, str]:
    """Return the label file of each picture, whether it is there or not.

    Where its folder in `labels` has none it is beside the picture, as labelImg writes it.
    """
    filled: dict[str, bool] = {}
    files = {}
    for picture in pictures:
        file = label_file(picture)
        folder = str(PurePosixPath(file).parent)
        if folder not in filled:
            filled[folder] = any(map(_may_be_name, _names_in(labels.root / folder)))
        if not filled[folder]:
            file = str(PurePosixPath(picture).with_suffix(".txt"))
        capitals = str(PurePosixPath(file).with_suffix(".TXT"))
        if not is_file(labels.root / file) and is_file(labels.root / capitals):
            labels.findings.repair(CAPITALS, str(labels.root / capitals))
            file = capitals
        files[picture] = file
    return files


def _may_be_name(name: str) -> bool:
    """Return whether a file of labels may have this name."""
    return name.lower().endswith(".txt") and not name.startswith(".") and name != CLASS_LIST


def _image(image_id: int, name: str, size: tuple[int, int], labelled: bool) -> Image:
    image = Image(id=image_id, file_name=name, width=size[0], height=size[1])
    return image if labelled else {**image, "labelled": False}


def _size(path: Path, data: YoloData) -> tuple[int, int]:
    """Return width and height, both 0 where the picture cannot be read, which the checks of all data sets note.

    Its boxes are then of no size, but of their class.
    """
    try:
        return picture_size(path, data.exif)
    except InputError:
        return 0, 0


def _number_annotations(images: Mapping[int, tuple[Iterable[FractionBox], tuple[int, int]]]) -> Iterator[Annotation]:
    """Yield the boxes of all images in pixels, with ids from 1."""
    count = 0
    for image, (boxes, (width, height)) in images.items():
        for box in boxes:
            count += 1
            yield Annotation(
                id=count,
                image_id=image,
                category_id=box.category,
                bbox=[box.left * width, box.top * height, box.width * width, box.height * height],
                iscrowd=0,
            )


def _read_labels(picture: str, name: str, labels: _Labels) -> list[FractionBox] | None:
    """Return the boxes in a picture's label file; None where there is no such file."""
    labels.folders[str(PurePosixPath(name).parent)] = str(PurePosixPath(picture).parent)
    path = labels.root / name
    try:
        lines = text_lines(path)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return None
        labels.findings.fault(BAD_FILE, f"{path}: {getattr(error, 'strerror', None) or error}")
        return []
    if PurePosixPath(name).parent != PurePosixPath(label_file(picture)).parent:
        labels.findings.repair(BESIDE, str(path))
    boxes: dict[FractionBox, None] = {}
    for line_number, line in enumerate(lines, start=1):
        words = tuple(line.replace("\0", "?").split())
        if not words:
            continue
        result, repair = read_line(words, labels.listing.names, labels.listing.keypoints)
        place = f"{path}:{line_number}"
        if isinstance(result, Finding):
            labels.findings.fault(result, f"{place}: {' '.join(words)[:80]}")
        elif result in boxes:
            labels.findings.repair(REPEATED, place)
        else:
            boxes[result] = None
            if repair is POLYGONS:
                labels.polygons[place] = words
            elif repair:
                labels.findings.repair(repair, place)
    return list(boxes)


def read_line(
    words: tuple[str, ...], names: Collection[int], keypoints: int | None
) -> tuple[FractionBox | Finding, Finding | None]:
    """Return the box of a line, or what is wrong with it, and what had to be done to read it.

    `names` has the numbers of the classes. `keypoints` is how many numbers follow a box; None without keypoints.
    """
    if any("," in word for word in words):
        return COMMAS, None
    category = whole(words[0])
    if category is None:
        return BAD_CLASS, None
    if category not in names:
        return UNKNOWN_CLASS, None
    try:
        numbers = list(map(float, words[1:]))
    except ValueError:
        return BAD_LINE, None
    text = "".join(words)
    if "_" in text or not text.isascii() or not all(map(math.isfinite, numbers)):
        return BAD_LINE, None
    is_box = len(numbers) == 4
    if keypoints and len(numbers) == 4 + keypoints:
        is_box, numbers = True, numbers[:4]
    elif len(numbers) == 5:
        return PREDICTIONS, None
    elif not is_box and not keypoints and _is_no_polygon(numbers):
        return POSE, None
    elif not is_box and (len(numbers) < 6 or len(numbers) % 2 or keypoints):
        return BAD_LINE, None
    if min(numbers) < -BEYOND or max(numbers) > 1 + BEYOND:
        return NO_FRACTIONS, None
    if not is_box:
        xs, ys = numbers[::2], numbers[1::2]
        left, top = min(xs), min(ys)
        return FractionBox(category, left, top, max(xs) - left, max(ys) - top), POLYGONS
    x, y, width, height = numbers
    if width < 0 or height < 0:
        return BAD_LINE, None
    return FractionBox(category, x - width / 2, y - height / 2, width, height), KEYPOINTS if len(words) > 5 else None


def _is_no_polygon(numbers: list[float]) -> bool:
    """Return whether numbers must be keypoints: each point has a visibility (0, 1, 2), and they are no polygon."""
    return (
        len(numbers) > 6
        and _numbers_per_point(numbers[4:]) == 3
        and (len(numbers) % 2 > 0 or max(numbers) > 1 + BEYOND)
    )


def _numbers_per_point(keypoint_numbers: list[float]) -> int:
    """Return how many numbers each point behind a box has."""
    return 3 if len(keypoint_numbers) % 3 == 0 and all(value in (0, 1, 2) for value in keypoint_numbers[2::3]) else 2


def _note_polygons(labels: _Labels) -> None:
    """Note lines that were read as polygons, as faults where keypoints may have been meant."""
    keypoints = may_be_keypoints([list(map(float, words[1:])) for words in labels.polygons.values()])
    for place, words in labels.polygons.items():
        if keypoints:
            labels.findings.fault(POSE, f"{place}: {' '.join(words)[:80]}")
        else:
            labels.findings.repair(POLYGONS, place)


def may_be_keypoints(lines: list[list[float]]) -> bool:
    """Return whether nearly all lines can be read as a box and its keypoints, the same number in each line."""
    if len(set(map(len, lines))) != 1:
        return False
    spans = [span for numbers in lines if (span := _span(numbers)) is not None]
    positive_spans = [span for span in spans if span]
    telling = median(positive_spans) > SPANNED if positive_spans else len(spans) >= FEWEST
    return telling and len(spans) >= MOST * len(lines)


def _span(numbers: list[float]) -> float | None:
    """Return the fraction of a box that its keypoints span, the larger of the fractions in width and height.

    The first four numbers are the box, the others its keypoints. The result is 0 if at most one keypoint is visible,
    and None if the first four are no box in the picture or do not contain the keypoints.
    """
    x, y, width, height, *rest = numbers
    if len(rest) == 4 and all(abs(a - b + c - d) <= BEYOND for a, b, c, d in (numbers[::2], numbers[1::2])):
        return None  # a turned box: opposite sides are alike
    step = _numbers_per_point(rest)
    points = [point for point in zip(*(rest[offset::step] for offset in range(step)), strict=True) if any(point[:2])]
    largest = 0.0
    for axis, (middle, size) in enumerate(((x, width), (y, height))):
        values = [point[axis] for point in points if step == 2 or point[2]]
        # A 0, 1 or 2 behind every point tells enough.
        contained = step == 3 or all(abs(value - middle) <= size / 2 + BEYOND for value in values)
        if not contained or abs(middle - 0.5) + size / 2 > 0.5 + BEYOND:
            return None
        if values and size:
            largest = max(largest, (max(values) - min(values)) / size)
    return largest


def _note_shared_files(label_files: Mapping[str, str], labels: _Labels) -> None:
    """Note label files that several pictures have."""
    for name, times in Counter(label_files.values()).items():
        if times > 1 and is_file(labels.root / name):
            labels.findings.fault(SHARED, f"{labels.root / name}: {times} pictures")


def _note_left_over(labels: _Labels) -> None:
    """Note label files whose picture is nowhere."""
    for folder, pictures in sorted(labels.folders.items()):
        stems = {Path(name).stem for name in _names_in(labels.root / pictures) if name.lower().endswith(SUFFIXES)}
        for name in sorted(_names_in(labels.root / folder)):
            path = labels.root / folder / name
            if _may_be_name(name) and Path(name).stem not in stems and _may_be_labels(path):
                labels.findings.fault(NO_PICTURE, str(path))


def _may_be_labels(path: Path) -> bool:
    """Return whether a file is empty or begins with a line of numbers: other texts lie beside labels too."""
    try:
        lines = text_lines(path)
    except (OSError, UnicodeError):
        return False
    words: list[str] = next((line.split() for line in lines if line.strip()), [])
    return not words or (len(words) > 4 and all(number(word) is not None for word in words))


def _names_in(folder: Path) -> list[str]:
    """Return the names in a folder; none where there is no such folder."""
    try:
        return [path.name for path in folder.iterdir()]
    except (OSError, ValueError):  # none, or a name that no folder can have
        return []
