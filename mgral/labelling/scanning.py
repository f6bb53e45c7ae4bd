"""The pictures of a project: found in its folders, and recognised by their bytes."""

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from posixpath import splitext
from typing import NamedTuple

from mgral.artefacts.files import read_json, write_json
from mgral.compute.progress import tracked
from mgral.config import PictureSettings
from mgral.data.decoding import DEEP, OUT_OF_RANGE, TOO_LARGE, PictureError, decode, pillow_limits
from mgral.data.findings import Finding, Findings
from mgral.data.formats.snapshot import Picture
from mgral.data.headers import picture_size
from mgral.data.paths import PICTURES
from mgral.errors import InputError, program
from mgral.labelling.ledger import Event, What
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project

OWN = re.compile(r"(round|check|replay)[0-9]+|results")
"""Folders of rounds, experiments and results, which have copies of pictures.

They are passed over if the project's own folder is one of its folders of pictures.
"""
SEEN = ".files.json"
"""Size, time of change and digest of each file when it was read last: only what differs is read again. It may be
deleted at any time."""
NO_FOLDER = Finding("folders of pictures are not there", "correct --pictures, or `pictures` in project.yaml")
NO_PICTURES = Finding(
    "folders contain no pictures", "correct --pictures, or `pictures` in project.yaml, or put pictures there"
)
UNREADABLE = Finding("files are no pictures that can be used", "left out of the project; replace or remove them")
BY_SETTING = {
    kind: Finding(
        kind.title,
        f"left out of the project; set {way} in project.yaml, and run `{program()} project scan`, or give "
        f"{option} to `project init`; or {otherwise}",
    )
    for kind, way, option, otherwise in (
        (
            DEEP,
            "`deep_grey: full_range`, or `own_range` where they are dark like that,",
            "--deep-grey",
            "convert them to 8 bits",
        ),
        (OUT_OF_RANGE, "`deep_grey: own_range`", "--deep-grey", "convert them to 8 bits"),
        (TOO_LARGE, "`max_pixels` to the pixels of the largest", "--max-pixels", "scale them down"),
    )
}
"""What is wrong with pictures that a setting of the project admits."""
OTHER_SUFFIX = Finding(
    "kinds of picture files are not read",
    "left out of the project; convert them to JPEG or PNG, or correct the suffix",
)
OTHER_PICTURES = (
    ".heic", ".heif", ".mpo", ".jxl", ".j2k", ".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
    ".psd", ".svg", ".jpg_large", ".jpe",
)  # fmt: skip
"""Suffixes of pictures that are not read."""
NOT_READ = Finding("pictures or their folders cannot be read", "correct their permissions or the disk, and run again")
COPIES = Finding("pictures are copies of another one, byte for byte", "one of them is used")
BAD_NAMES = Finding("pictures have names that are not UTF-8", "left out; rename them")
RENAMED = Finding("pictures were renamed or moved", "recognised by their bytes; their labels stay")
MISSING = Finding("pictures are missing", "left out of new rounds until they are back")
CHANGED = Finding(
    "pictures have other bytes than before, under the same name",
    f"their labels may not fit: bring the old files back; or `{program()} project scan --changed new` takes them "
    "for new pictures, and the old ones for missing",
)
TAKEN_AS_NEW = Finding("pictures have other bytes than before", "they are new pictures, the old ones are missing")
KNOWN_BOTH = Finding(
    "pictures lie in a folder of the test set and in one to label, byte for byte", "they stay what they were so far"
)
BOTH = Finding("pictures of the test set lie among those to label, byte for byte", "they are of the test set only")


class Seen(NamedTuple):
    """A file as it was when it was read last."""

    size: int
    """Bytes."""
    time: int
    """Time of the last change, in nanoseconds since 1970."""
    sha256: str


@dataclass
class Scan:
    """What was found in the folders, beside what the project knows."""

    new: list[Picture] = field(default_factory=list)
    new_test: list[int] = field(default_factory=list)
    """Numbers of those new pictures that are of the test set."""
    copies: dict[str, int] = field(default_factory=dict)
    """Numbers of the pictures of which other files are copies, by these files, where the project does not know it."""
    moved: dict[int, str] = field(default_factory=dict)
    """New places of pictures that were renamed."""
    missing: set[int] = field(default_factory=set)
    """Numbers of pictures that are in no folder."""
    findings: Findings = field(default_factory=Findings)
    seen: dict[str, Seen] = field(default_factory=dict)
    """All files as they were when they were read."""


def scan_pictures(folder: Path, settings: ProjectSettings, project: Project, take_changed: bool = False) -> Scan:
    """Look for pictures in the folders of a project.

    Each new file is decoded once, so that a damaged one is known before it is in a round.

    Parameters
    ----------
    folder
        The project's folder.
    take_changed
        Take files with other bytes than before for new pictures; else they are a fault.

    Raises
    ------
    FaultyDataError
        Where a folder is not there or has no pictures, a file cannot be read, or pictures have changed.
    """
    scan = Scan()
    paths = dict(_paths_by_name(folder, settings, scan.findings))
    scan.findings.raise_faults("the folders of pictures", "")
    scan.seen = _read(_seen(folder), paths, scan.findings)
    digests = {name: seen.sha256 for name, seen in scan.seen.items()}
    _recognise(project, digests, scan, take_changed)
    _add_new(settings, project, paths, digests, scan)
    scan.findings.raise_faults("the pictures", "")
    return scan


def _paths_by_name(folder: Path, settings: ProjectSettings, findings: Findings) -> Iterator[tuple[str, Path]]:
    """Yield the name in the project, and the path, of each file that may be a picture, sorted by name."""
    for name, path_text in sorted({**settings.pictures, **settings.test_pictures}.items()):
        top = Path(os.path.normpath(folder.resolve() / path_text))  # a new project's folder is not there yet
        if not top.is_dir():
            findings.fault(NO_FOLDER, f"{name}: {top}")
            continue
        passed_over: Counter[str] = Counter()
        paths_in_folder = sorted(_files(top, folder.resolve(), findings, passed_over))
        if not paths_in_folder:
            other_files = ", ".join(
                f"{count} {suffix or 'without a suffix'}" for suffix, count in passed_over.most_common(5)
            )
            findings.fault(NO_PICTURES, f"{name}: {top}{f' (files there: {other_files})' if other_files else ''}")
        for suffix in OTHER_PICTURES if paths_in_folder else ():
            if count := passed_over[suffix]:
                findings.repair(OTHER_SUFFIX, f"{name}: {count} {suffix}")
        for path_in_folder in paths_in_folder:
            try:
                path_in_folder.encode()
            except UnicodeEncodeError:
                findings.repair(BAD_NAMES, os.fsencode(path_in_folder).decode("utf-8", "replace"))
                continue
            yield f"{name}/{path_in_folder}", top / path_in_folder


def _files(top: Path, project_folder: Path, findings: Findings, passed_over: Counter[str]) -> Iterator[str]:
    """Yield the paths below a folder of files named as pictures, and count the others by their suffix.

    Hidden ones and a project's own are passed over.
    """

    def not_read(error: OSError) -> None:
        findings.fault(NOT_READ, f"{error.filename}: {error.strerror}")

    visited: set[str] = set()
    for folder, folders, files in os.walk(top, onerror=not_read, followlinks=True):
        real_path = os.path.realpath(folder)
        if real_path in visited:
            folders.clear()
            continue
        visited.add(real_path)
        is_project = Path(real_path) == project_folder
        folders[:] = [
            name for name in folders if not name.startswith(".") and not (is_project and OWN.fullmatch(name))
        ]
        prefix = "" if folder == str(top) else os.path.relpath(folder, top) + "/"
        for name in files:
            if name.startswith("."):
                continue
            if name.lower().endswith(PICTURES):
                yield prefix + name
            else:
                passed_over[splitext(name.lower())[1]] += 1


def _read(last_seen: Mapping[str, Seen], paths: Mapping[str, Path], findings: Findings) -> dict[str, Seen]:
    """Return size, time and SHA-256 of each file, reading only those that differ from what was read last."""
    stats = {}
    for name, path in tracked(paths.items(), "files", len(paths), "picture"):
        try:
            stats[name] = path.stat()
        except OSError as error:
            findings.repair(UNREADABLE, f"{name}: {error.strerror}")
            continue
        if not path.is_file():
            del stats[name]
            findings.repair(UNREADABLE, f"{name}: it is no file")
    seen = {
        name: last_seen[name]
        for name, stat in stats.items()
        if name in last_seen and last_seen[name][:2] == (stat.st_size, stat.st_mtime_ns)
    }
    to_read = sorted(stats.keys() - seen.keys())

    def read(name: str) -> tuple[str, Seen | OSError]:
        try:
            with paths[name].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return name, error
        return name, Seen(stats[name].st_size, stats[name].st_mtime_ns, digest)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, result in tracked(pool.map(read, to_read), "read", len(to_read), "picture"):
            if isinstance(result, OSError):
                findings.fault(NOT_READ, f"{name}: {result.strerror or result}")
            else:
                seen[name] = result
    return dict(sorted(seen.items()))


def remember_files(folder: Path, scan: Scan) -> None:
    """Write down what was read, so that the next scan reads only what differs."""
    if scan.seen != _seen(folder):
        write_json(folder / SEEN, {name: list(seen) for name, seen in scan.seen.items()})


def _seen(folder: Path) -> dict[str, Seen]:
    """Return the files as they were read last; none where that was not written down, or is damaged."""
    try:
        return {name: Seen(*row) for name, row in read_json(folder / SEEN).items()}
    except (InputError, TypeError, ValueError, AttributeError):
        return {}


def _recognise(project: Project, digests: Mapping[str, str], scan: Scan, take_changed: bool) -> None:
    """Find the known pictures: where they were, or elsewhere."""
    names_by_digest: dict[str, list[str]] = defaultdict(list)
    for name, sha in digests.items():
        names_by_digest[sha].append(name)
    known_digests = {picture.sha256 for picture in project.pictures.values()}
    for image, file in project.files.items():
        sha = project.pictures[image].sha256
        if digests.get(file) == sha:
            continue
        names = names_by_digest.get(sha)
        if names:
            scan.moved[image] = names[0]
            scan.findings.repair(RENAMED, f"{file}: now {names[0]}")
            continue
        scan.missing.add(image)
        if file not in digests:
            scan.findings.repair(MISSING, file)
        elif take_changed:
            scan.findings.repair(TAKEN_AS_NEW, file)
        elif digests[file] not in known_digests:
            scan.findings.fault(CHANGED, file)


def _add_new(
    settings: ProjectSettings, project: Project, paths: Mapping[str, Path], digests: Mapping[str, str], scan: Scan
) -> None:
    """Add new pictures that can be decoded to the scan, and copies that the project does not know."""
    known_files = {picture.sha256: project.files[picture.id] for picture in project.pictures.values()}
    new_files: dict[str, str] = {}
    copies: list[tuple[Finding, str, str]] = []
    # Those of the test set first: a picture that is in both is of the test set.
    for name in sorted(digests, key=lambda name: (name.split("/")[0] not in settings.test_pictures, name)):
        sha = digests[name]
        first = known_files.get(sha) or new_files.get(sha)
        if first is None:
            new_files[sha] = name
        elif first != name and first in digests and digests[first] == sha:
            both = (first.split("/")[0] in settings.test_pictures) != (name.split("/")[0] in settings.test_pictures)
            kind = COPIES if not both else KNOWN_BOTH if sha in known_files else BOTH
            copies.append((kind, name, first))
    number = max(project.pictures, default=0)
    usable = _usable(settings, {name: paths[name] for name in sorted(new_files.values())}, scan.findings)
    shas = {name: sha for sha, name in new_files.items()}
    for name, (width, height) in usable:
        number += 1
        scan.new.append(Picture(number, shas[name], name, width, height))
        if name.split("/")[0] in settings.test_pictures:
            scan.new_test.append(number)
    numbers = {file: image for image, file in project.files.items()} | {new.file: new.id for new in scan.new}
    for kind, name, first in copies:
        if first not in numbers:
            scan.findings.repair(UNREADABLE, f"{name}: the same bytes as {first}")
            continue
        scan.findings.repair(kind, f"{name} is {first}")
        if project.copies.get(name) != numbers[first]:
            scan.copies[name] = numbers[first]


def _usable(
    settings: ProjectSettings, paths: Mapping[str, Path], findings: Findings
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name and the upright size of each picture that can be decoded, and note the others."""
    decoding = settings.decoding

    def try_to_decode(sized_picture: tuple[str, Path, tuple[int, int]]) -> tuple[str, tuple[int, int] | PictureError]:
        name, path, size = sized_picture
        try:
            decode(path.read_bytes(), name, size, decoding)
        except PictureError as error:
            return name, error
        except OSError as error:
            return name, PictureError(NOT_READ, f"{name} ({error.strerror or error})")
        return name, size

    with pillow_limits(decoding.max_pixels), ThreadPoolExecutor(os.cpu_count()) as pool:
        sized = list(_sized(paths, decoding, findings))
        for name, result in tracked(pool.map(try_to_decode, sized), "decode", len(sized), "picture"):
            if isinstance(result, PictureError):
                if result.kind in BY_SETTING:
                    findings.repair(BY_SETTING[result.kind], result.place)
                else:
                    findings.repair(UNREADABLE, f"{result.place}: {result.kind.title}")
            else:
                yield name, result


def _sized(
    paths: Mapping[str, Path], settings: PictureSettings, findings: Findings
) -> Iterator[tuple[str, Path, tuple[int, int]]]:
    """Yield the name, the path and the upright size of each picture whose header can be read, and note the others."""
    for name, path in tracked(paths.items(), "sizes", len(paths), "picture"):
        try:
            yield name, path, picture_size(path, settings.exif)
        except InputError as error:
            findings.repair(UNREADABLE, str(error).replace(str(path), name, 1))


def scan_events(scan: Scan) -> dict[What, list[Event]]:
    """Return what is new as the ledger has it, in its order."""
    return {
        "pictures": [asdict(picture) for picture in scan.new],
        "test": [{"image": number} for number in scan.new_test],
        "moved": [{"id": number, "file": file} for number, file in scan.moved.items()],
        "copies": [{"image": number, "file": file} for file, number in scan.copies.items()],
    }


def moved_json(project: Project, missing: Collection[int]) -> bytes:
    """Return the content of pictures/moved.json: present files of moved pictures by number, null for missing ones."""
    moved = {
        str(image): None if image in missing else file
        for image, file in project.files.items()
        if image in missing or file != project.pictures[image].file
    }
    return (json.dumps(moved, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
