"""Reader of YOLO labels of labelling tools: a text file for each picture, whose numbers are fractions of it."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from mgral.data.findings import Finding
from mgral.data.formats.text import lines_of
from mgral.data.formats.yolo import CLASS_LIST, POLYGONS, POSE, SHARED, label_file, may_be_keypoints, read_line
from mgral.data.formats.yolo_yaml import SUFFIXES, class_names, keypoint_numbers, parse_yaml
from mgral.data.values import number
from mgral.labelling.exchange.outlines import Corners
from mgral.labelling.exchange.reading import UNREADABLE, Content, Reading
from mgral.labelling.records import Box, Returned

NO_CLASSES = Finding(
    "YOLO labels have no list of classes", "add data.yaml with `names`, or classes.txt, one name a line"
)
NO_NAME = Finding("lists of classes have empty lines", "remove them, or fill them in: a class is a line, from 0")
SEVERAL_LISTS = Finding(
    "YOLO labels have several data.yaml, or lists of classes that differ", "import each folder by itself"
)
OTHER_LIST = Finding(
    "lists of classes differ from data.yaml",
    "data.yaml is used; if the labels were written by the list, remove data.yaml and import them again",
)
NO_FILE = Finding("pictures have no label file", "taken for untouched; an empty file says that there is no object")
LISTS = ("train.txt", "val.txt", "valid.txt", "test.txt")
"""Lists of pictures, also where they are empty."""
CLASS_LISTS = (CLASS_LIST, "obj.names")
_YAMLS = (".yaml", ".yml")


class _Classes(NamedTuple):
    names: Mapping[int, str]
    keypoints: int | None
    project: str | None = None


def read_yolo_labels(reading: Reading) -> Content:
    """Read the label files of a folder or archive, with or without its pictures.

    A picture is named by its file, by the list that has it, or, where neither is there, by its label file without
    suffix.
    """
    classes = _read_classes(reading)
    pictures, missing = _pictures(reading)
    labels: list[Returned] = []
    polygons: dict[str, tuple[str, ...]] = {}
    for file in _label_files(pictures, reading):
        picture = pictures.get(file) or str(PurePosixPath(file).with_suffix(""))
        boxes = _read_boxes(file, picture, classes, polygons, reading)
        if boxes is not None:
            labels.append(reading.without_state(Returned(picture, "labelled", tuple(boxes))))
    for picture in missing:
        reading.findings.repair(NO_FILE, f"{reading.source.path}: {picture}")
        labels.append(Returned(picture, "untouched"))
    _note_polygons(polygons, reading)
    return Content(labels, list(classes.names.values()), classes.project)


def _read_classes(reading: Reading) -> _Classes:
    source, findings = reading.source, reading.findings
    yamls = []
    for name in source.ending(*_YAMLS):
        content = reading.content(name)
        values = parse_yaml(content, source.place(name), findings) if content is not None else {}
        if "names" in values:
            yamls.append((source.place(name), values))
    if len(yamls) > 1:
        findings.fault(SEVERAL_LISTS, ", ".join(place for place, _ in yamls))
    lists = [name for name in source.names if PurePosixPath(name).name in CLASS_LISTS]
    if yamls:
        place, values = yamls[0]
        mgral_values = values.get("mgral")
        project = mgral_values.get("project") if isinstance(mgral_values, dict) else None
        names = dict(sorted(class_names(place, values, findings).items()))
        for name in lists:
            if _class_list(name, reading) != [*names.values()]:
                findings.repair(OTHER_LIST, source.place(name))
        return _Classes(names, keypoint_numbers(place, values, findings), project)
    if not lists:
        findings.fault(NO_CLASSES, str(source.path))
        return _Classes({}, None)
    first_list, *other_lists = [_listed_classes(name, reading) for name in lists]
    if any(other_list != first_list for other_list in other_lists):
        findings.fault(SEVERAL_LISTS, ", ".join(map(source.place, lists)))
    return _Classes(dict(enumerate(first_list)), None)


def _listed_classes(name: str, reading: Reading) -> list[str]:
    """Return the classes in a list of them, and note its empty lines."""
    names = _class_list(name, reading)
    for line_number, line in enumerate(names, start=1):
        if not line:
            reading.findings.fault(NO_NAME, f"{reading.source.place(name)}:{line_number}")
    return names


def _class_list(name: str, reading: Reading) -> list[str]:
    """Return the lines of a list of classes, without the empty ones at its end."""
    lines = [line.strip() for line in _lines(name, reading) or []]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _pictures(reading: Reading) -> tuple[dict[str, str], list[str]]:
    """Return the picture of each label file, and the pictures that have none: of the files, and of lists of them."""
    pictures: dict[str, str] = {}
    missing: dict[str, None] = {}
    texts = {str(PurePosixPath(name).with_suffix(".txt")): name for name in reading.source.ending(".txt")}
    listed = [(name, "") for name in reading.source.ending(*SUFFIXES)]
    for name in reading.source.ending(".txt"):
        if PurePosixPath(name).name not in CLASS_LISTS and _is_list(lines := _lines(name, reading) or []):
            folder = str(PurePosixPath(name).parent)
            listed += [(line.strip().replace("\\", "/"), folder) for line in lines if line.strip()]
    for picture, folder in listed:
        parts = PurePosixPath(picture).parts
        # Lists have paths of other machines, or start at another folder.
        paths = [str(PurePosixPath(folder, *parts[start:])) for start in range(len(parts))]
        files = [file for path in paths for file in (label_file(path), str(PurePosixPath(path).with_suffix(".txt")))]
        file = next((texts[file] for file in files if file in texts), None)
        if file is None:
            missing[picture] = None
        elif PurePosixPath(pictures.setdefault(file, picture)).name != PurePosixPath(picture).name:
            reading.findings.fault(SHARED, f"{reading.source.place(file)}: {pictures[file]}, {picture}")
    names = {PurePosixPath(picture).name for picture in pictures.values()}
    return pictures, [picture for picture in missing if PurePosixPath(picture).name not in names]


def _label_files(pictures: Mapping[str, str], reading: Reading) -> list[str]:
    """Return the label files: those in folders of labels, and other texts of pictures, or that begin with a box.

    Empty texts are of pictures, unless they are called as lists are.
    """
    files = []
    for name in reading.source.ending(".txt"):
        path = PurePosixPath(name)
        if path.name in CLASS_LISTS:
            continue
        if "labels" in path.parts[:-1]:
            files.append(name)
            continue
        lines = _lines(name, reading) or []
        words = next((line.split() for line in lines if line.strip()), [])
        if not words:
            is_label = path.name not in LISTS
        elif len(words) > 4 and all(number(word) is not None for word in words):
            is_label = True
        else:
            is_label = not _is_list(lines) and (
                name in pictures or reading.size_of(str(path.with_suffix(""))) is not None
            )
        if is_label:
            files.append(name)
    return files


def _is_list(lines: list[str]) -> bool:
    """Return whether the first line that is not empty names a picture."""
    return next((line for line in lines if line.strip()), "").strip().lower().endswith(SUFFIXES)


def _lines(name: str, reading: Reading) -> list[str] | None:
    content = reading.content(name)
    try:
        return None if content is None else lines_of(content)
    except UnicodeError as error:
        place = f"{reading.source.place(name)}: {error}"
        if place not in reading.findings.faults.get(UNREADABLE, ()):  # files are read more than once
            reading.findings.fault(UNREADABLE, place)
        return None


def _read_boxes(
    file: str, picture: str, classes: _Classes, polygons: dict[str, tuple[str, ...]], reading: Reading
) -> list[Box] | None:
    """Return the boxes of a label file, and note lines that are polygons."""
    lines, size = _lines(file, reading), reading.size_of(picture)
    if lines is None:
        return None
    boxes: list[Box] = []
    if size is None and any(line.strip() for line in lines):
        reading.lacks_size(f"{reading.source.place(file)}: {picture}")
    for line_number, line in enumerate(lines, start=1):
        words, place = tuple(line.replace("\0", "?").split()), f"{reading.source.place(file)}:{line_number}"
        if not words:
            continue
        box, repair = read_line(words, classes.names, classes.keypoints)
        if isinstance(box, Finding):
            reading.findings.fault(box, f"{place}: {' '.join(words)[:80]}")
            continue
        if repair is POLYGONS:
            polygons[place] = words
        elif repair is not None:
            reading.findings.repair(repair, place)
        if size is not None:
            width, height = size
            right, bottom = box.left + box.width, box.top + box.height
            corners = Corners(box.left * width, box.top * height, right * width, bottom * height)
            reading.add_box(boxes, classes.names[box.category], corners, size, place)
    return boxes


def _note_polygons(polygons: Mapping[str, tuple[str, ...]], reading: Reading) -> None:
    """Note lines that were read as polygons, as faults where keypoints may have been meant."""
    keypoints = bool(polygons) and may_be_keypoints([list(map(float, words[1:])) for words in polygons.values()])
    for place, words in polygons.items():
        if keypoints:
            reading.findings.fault(POSE, f"{place}: {' '.join(words)[:80]}")
        else:
            reading.takes_shape(place)
