"""The file data.yaml of a YOLO data set: its classes, and which pictures a split has."""

import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from mgral.artefacts.integrity import read_verified
from mgral.config import YoloData
from mgral.data.findings import Finding, Findings
from mgral.data.formats.text import text_lines
from mgral.data.paths import shown_files
from mgral.data.values import whole

SUFFIXES = (
    *(".bmp", ".dng", ".heic", ".jpeg", ".jpg", ".jp2", ".mpo"),
    *(".jfif", ".pgm", ".ppm", ".pfm", ".png", ".tif", ".tiff", ".webp", ".avif", ".gif"),
)
"""Suffixes of pictures; other files in a folder are ignored."""
NOTHING = ("", "~", "null", "Null", "NULL")
TEST_SPLITS = ("test", "val", "validation")
"""Keys of data.yaml; the first that is there names the test split if `data.test_split` is not set."""

UNREADABLE = Finding("YAML files cannot be read", "correct them, or `data.data_yaml`")
NO_NAMES = Finding(
    "YAML files have no `names`, or not as they should be", "give a list of texts, or a text for each number"
)
OTHER_COUNT = Finding("YAML files have an `nc` that `names` contradicts", "correct one of them, or remove `nc`")
BAD_KEYPOINTS = Finding("YAML files have a `kpt_shape` that is not valid", "give [points, 2] or [points, 3]")
NO_SPLIT = Finding(
    "splits are not in data.yaml, or not as they should be",
    "name a folder, a list of folders or a .txt file there, or correct `data.train_split` or `data.test_split`",
)
NO_FOLDER = Finding(
    "folders or lists of a split are not on disk",
    "add them, correct data.yaml, or name another split, such as `data.test_split: val`",
)
OUTSIDE = Finding(
    "paths leave the data folder", "name files inside it, relative to `path`, or set `data.root` to a folder above"
)
BAD_LIST = Finding("lists of pictures cannot be read", "save them as text in UTF-8")
BAD_ENTRY = Finding("lines of lists name a folder", "name a picture in each line, and folders in data.yaml")
OTHER_PATH = Finding("YAML files have a `path` that is not on disk", "their own folder is taken for it")
ONE_UP = Finding("splits are named by a path that begins with `../`", "read without it, as Ultralytics does")
BACKSLASHES = Finding("paths have backslashes", "read as slashes, as such files are there")
LISTED_TWICE = Finding("pictures are listed more than once", "each is used once")


@dataclass(frozen=True)
class Listing:
    """What a data.yaml says."""

    names: Mapping[int, str]
    """Names of the classes, by number."""
    keypoints: int | None
    """How many numbers follow the box in each line; None if the labels are no keypoints."""
    train: tuple[str, ...]
    """Pictures, relative to the root, whether they are there or not."""
    test: tuple[str, ...]


def read_listing(root: Path, data: YoloData, findings: Findings) -> Listing:
    """Read a data.yaml, and the folders or lists that it names.

    Raises
    ------
    FaultyDataError
        Where data.yaml cannot be read at all.
    """
    path = root / data.data_yaml
    values = _load_yaml(path, findings)
    findings.raise_faults()
    places = _Places(root, path, _base_folder(root, path, values, findings), findings)
    test = data.test_split or next((name for name in TEST_SPLITS if _is_given(values.get(name))), TEST_SPLITS[0])
    return Listing(
        names=class_names(str(path), values, findings),
        keypoints=keypoint_numbers(str(path), values, findings),
        train=_split_pictures(data.train_split, values, places),
        test=_split_pictures(test, values, places),
    )


def _load_yaml(path: Path, findings: Findings) -> dict[Any, Any]:
    """Return the keys of a file as `parse_yaml` does; empty, noted, where it cannot be read."""
    try:
        if path.exists() and not path.is_file():
            findings.fault(UNREADABLE, f"{path}: it is no file")
            return {}
        content = read_verified(path)
    except OSError as error:
        findings.fault(UNREADABLE, f"{path}: {error.strerror}")
        return {}
    return parse_yaml(content, str(path), findings)


def parse_yaml(content: bytes, path: str, findings: Findings) -> dict[Any, Any]:
    """Return the keys of a data.yaml, all values as texts: a class may be called `no` or `007`.

    If the content cannot be read, the result is empty and a fault with the path is noted.
    """
    try:
        values = yaml.load(content, Loader=_Texts)
    except (yaml.YAMLError, ValueError) as error:
        findings.fault(UNREADABLE, f"{path}: {' '.join(str(error).split())[:200]}")
    except RecursionError:
        findings.fault(UNREADABLE, f"{path}: its values are nested too deeply")
    else:
        if isinstance(values, dict):
            return values
        findings.fault(UNREADABLE, f"{path}: it contains no keys")
    return {}


class _Texts(yaml.BaseLoader):
    """Reads all values as texts, and refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [key.value for key, _ in node.value]
            raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
        return mapping


def class_names(path: str, values: Mapping[Any, Any], findings: Findings) -> dict[int, str]:
    """Return the names of the classes by number; the path is for notes."""
    value = values.get("names")
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    names = {}
    for key, name in pairs:
        number = whole(key)
        if number is None or number < 0 or not isinstance(name, str) or not name.strip():
            findings.fault(NO_NAMES, f"{path}: entry {key if isinstance(key, str | int) else '?'}")
        else:
            if number in names:
                findings.fault(NO_NAMES, f"{path}: {number} is there twice")
            names[number] = name.strip()
    if not pairs:
        findings.fault(NO_NAMES, path)
    count = values.get("nc")
    if names and _is_given(count) and whole(count) not in (len(names), max(names) + 1):
        text = count if isinstance(count, str) else "no number"
        findings.fault(OTHER_COUNT, f"{path}: nc is {text[:40]}, and there are {len(names)} names")
    return names


def keypoint_numbers(path: str, values: Mapping[Any, Any], findings: Findings) -> int | None:
    """Return how many numbers follow the box in each line; None where the labels are no keypoints."""
    numbers = values.get("kpt_shape")
    if not _is_given(numbers):
        return None
    shape = [whole(value) for value in numbers] if isinstance(numbers, list) else []
    if len(shape) != 2 or not shape[0] or shape[0] < 0 or shape[1] not in (2, 3):
        findings.fault(BAD_KEYPOINTS, path)
        return None
    return shape[0] * shape[1]


def _is_given(value: object) -> bool:
    """Return whether a key is there and says something."""
    return value is not None and value not in NOTHING


@dataclass(frozen=True)
class _Places:
    """Where paths of a data.yaml begin, and where notes go."""

    root: Path
    path: Path
    """The data.yaml."""
    base: str
    """Folder that paths in data.yaml are relative to, itself relative to the root."""
    findings: Findings

    def inside(self, entry: str, base: str) -> str | None:
        """Return a path relative to the root; None where it leaves that."""
        if "\0" in entry or PureWindowsPath(entry).drive:
            return None
        root = self.root.absolute()
        name = os.path.relpath(os.path.normpath(root / base / entry), os.path.normpath(root))
        return None if name.startswith("../") or name == ".." else name

    def find(self, entry: str, *bases: str) -> tuple[str | None, bool]:
        """Return where an entry is, from the first of the bases that has it, and whether it is there."""
        spellings = [entry, *([entry.replace("\\", "/")] if "\\" in entry else ())]
        first = None
        for spelling in spellings:
            for base in bases:
                name = self.inside(spelling, base)
                first = first or name
                if name is not None and _exists(self.root / name):
                    if spelling != entry:
                        self.findings.repair(BACKSLASHES, f"{self.path}: {entry}")
                    return name, True
        return first, False


def _base_folder(root: Path, path: Path, values: Mapping[Any, Any], findings: Findings) -> str:
    """Return the folder that `path` names, relative to the root; the one of data.yaml where it names none."""
    own_folder = os.path.relpath(path.parent, root)
    value = values.get("path")
    if not _is_given(value):
        return own_folder
    if not isinstance(value, str):
        findings.fault(OUTSIDE, f"{path}: `path` is no text")
        return own_folder
    name = _Places(root, path, own_folder, findings).inside(value, own_folder)
    if name is not None and _exists(root / name) and (root / name).is_dir():
        return name
    if _exists(path.parent / value):
        findings.fault(OUTSIDE, f"{path}: path: {value}")
    else:
        findings.repair(OTHER_PATH, f"{path}: {value}")
    return own_folder


def _split_pictures(split: str, values: Mapping[Any, Any], places: _Places) -> tuple[str, ...]:
    """Return the pictures of a split, relative to the root, each once."""
    value = values.get(split)
    entries = value if isinstance(value, list) else [value] if _is_given(value) else []
    names = [entry for entry in entries if isinstance(entry, str) and entry not in NOTHING]
    if not names or len(names) < len(entries):
        places.findings.fault(NO_SPLIT, f"{places.path}: `{split}`")
        return ()
    pictures: dict[str, None] = {}
    for entry in names:
        for name in _entry_pictures(split, entry.strip(), places):
            if name in pictures:
                places.findings.repair(LISTED_TWICE, f"{places.path}, `{split}`: {name}")
            pictures[name] = None
    return tuple(pictures)


def _entry_pictures(split: str, entry: str, places: _Places) -> Iterator[str]:
    """Yield the pictures that an entry of a split stands for: a folder of them, or a list."""
    name, exists = places.find(entry, places.base)
    upwards = entry.replace("\\", "/").startswith("../")
    if not exists and upwards:
        # Roboflow's exports name ../train/images, which is one folder too high.
        lower, exists = places.find(entry[3:], places.base)
        name = lower if exists or name is None else name
        if exists:
            places.findings.repair(ONE_UP, f"{places.path}, `{split}`: {entry}")
    if name is None:
        places.findings.fault(OUTSIDE, f"{places.path}, `{split}`: {entry}")
    elif not exists:
        places.findings.fault(NO_FOLDER, f"{places.root / name} (of {places.path}, `{split}`)")
    elif (places.root / name).is_dir():
        yield from shown_files(places.root, name, SUFFIXES)
    else:
        yield from _listed_pictures(name, places)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _listed_pictures(name: str, places: _Places) -> Iterator[str]:
    """Yield the pictures that a list names."""
    path, folder = places.root / name, str(PurePosixPath(name).parent)
    try:
        lines = text_lines(path)
    except (OSError, UnicodeError) as error:
        places.findings.fault(BAD_LIST, f"{path}: {getattr(error, 'strerror', None) or error}")
        return
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry:
            continue
        # `./` is the list's own folder; all else begins at `path`, as in Ultralytics.
        bases = (folder, places.base) if entry.startswith("./") else (places.base, folder)
        picture, exists = places.find(entry, *bases)
        if picture is None:
            places.findings.fault(OUTSIDE, f"{path}:{number}: {entry[:200]}")
        elif exists and (places.root / picture).is_dir():
            places.findings.fault(BAD_ENTRY, f"{path}:{number}: {entry[:200]}")
        else:
            yield picture
