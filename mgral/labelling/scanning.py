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
    places = dict(_places(folder, settings, scan.findings))
    scan.findings.raise_faults("the folders of pictures", "")
    scan.seen = _read(_seen(folder), places, scan.findings)
    digests = {name: one.sha256 for name, one in scan.seen.items()}
    _recognise(project, digests, scan, take_changed)
    _add_new(settings, project, places, digests, scan)
    scan.findings.raise_faults("the pictures", "")
    return scan


def _places(folder: Path, settings: ProjectSettings, findings: Findings) -> Iterator[tuple[str, Path]]:
    """Yield the name in the project, and the path, of each file that may be a picture, sorted by name."""
    for name, given in sorted({**settings.pictures, **settings.test_pictures}.items()):
        top = Path(os.path.normpath(folder.resolve() / given))  # a new project's folder is not there yet
        if not top.is_dir():
            findings.fault(NO_FOLDER, f"{name}: {top}")
            continue
        passed_over: Counter[str] = Counter()
        found = sorted(_files(top, folder.resolve(), findings, passed_over))
        if not found:
            there = ", ".join(
                f"{count} {suffix or 'without a suffix'}" for suffix, count in passed_over.most_common(5)
            )
            findings.fault(NO_PICTURES, f"{name}: {top}{f' (files there: {there})' if there else ''}")
        for suffix in OTHER_PICTURES if found else ():
            if count := passed_over[suffix]:
                findings.repair(OTHER_SUFFIX, f"{name}: {count} {suffix}")
        for below in found:
            try:
                below.encode()
            except UnicodeEncodeError:
                findings.repair(BAD_NAMES, os.fsencode(below).decode("utf-8", "replace"))
                continue
            yield f"{name}/{below}", top / below


def _files(top: Path, project: Path, findings: Findings, passed_over: Counter[str]) -> Iterator[str]:
    """Yield the paths below a folder of files named as pictures, and count the others by their suffix.

    Hidden ones and a project's own are passed over.
    """

    def not_read(error: OSError) -> None:
        findings.fault(NOT_READ, f"{error.filename}: {error.strerror}")

    seen: set[str] = set()
    for place, folders, files in os.walk(top, onerror=not_read, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        own = Path(real) == project
        folders[:] = [one for one in folders if not one.startswith(".") and not (own and OWN.fullmatch(one))]
        below = "" if place == str(top) else os.path.relpath(place, top) + "/"
        for name in files:
            if name.startswith("."):
                continue
            if name.lower().endswith(PICTURES):
                yield below + name
            else:
                passed_over[splitext(name.lower())[1]] += 1


def _read(known: Mapping[str, Seen], places: Mapping[str, Path], findings: Findings) -> dict[str, Seen]:
    """Return size, time and SHA-256 of each file, reading only those that differ from what was read last."""
    status = {}
    for name, path in tracked(places.items(), "files", len(places), "picture"):
        try:
            status[name] = path.stat()
        except OSError as error:
            findings.repair(UNREADABLE, f"{name}: {error.strerror}")
            continue
        if not path.is_file():
            del status[name]
            findings.repair(UNREADABLE, f"{name}: it is no file")
    found = {
        name: known[name]
        for name, one in status.items()
        if name in known and known[name][:2] == (one.st_size, one.st_mtime_ns)
    }
    fresh = sorted(status.keys() - found.keys())

    def read(name: str) -> tuple[str, Seen | OSError]:
        try:
            with places[name].open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return name, error
        return name, Seen(status[name].st_size, status[name].st_mtime_ns, digest)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, one in tracked(pool.map(read, fresh), "read", len(fresh), "picture"):
            if isinstance(one, OSError):
                findings.fault(NOT_READ, f"{name}: {one.strerror or one}")
            else:
                found[name] = one
    return dict(sorted(found.items()))


def remember_files(folder: Path, scan: Scan) -> None:
    """Write down what was read, so that the next scan reads only what differs."""
    if scan.seen != _seen(folder):
        write_json(folder / SEEN, {name: list(one) for name, one in scan.seen.items()})


def _seen(folder: Path) -> dict[str, Seen]:
    try:
        return {name: Seen(*row) for name, row in read_json(folder / SEEN).items()}
    except (InputError, TypeError, ValueError, AttributeError):
        return {}


def _recognise(project: Project, digests: Mapping[str, str], scan: Scan, take_changed: bool) -> None:
    """Find the known pictures: where they were, or elsewhere."""
    by_digest: dict[str, list[str]] = defaultdict(list)
    for name, sha in digests.items():
        by_digest[sha].append(name)
    known = {one.sha256 for one in project.pictures.values()}
    for image, file in project.files.items():
        sha = project.pictures[image].sha256
        if digests.get(file) == sha:
            continue
        others = by_digest.get(sha)
        if others:
            scan.moved[image] = others[0]
            scan.findings.repair(RENAMED, f"{file}: now {others[0]}")
            continue
        scan.missing.add(image)
        if file not in digests:
            scan.findings.repair(MISSING, file)
        elif take_changed:
            scan.findings.repair(TAKEN_AS_NEW, file)
        elif digests[file] not in known:
            scan.findings.fault(CHANGED, file)


def _add_new(
    settings: ProjectSettings, project: Project, places: Mapping[str, Path], digests: Mapping[str, str], scan: Scan
) -> None:
    known = {picture.sha256: project.files[picture.id] for picture in project.pictures.values()}
    fresh: dict[str, str] = {}
    copies: list[tuple[Finding, str, str]] = []
    # Those of the test set first: a picture that is in both is of the test set.
    for name in sorted(digests, key=lambda name: (name.split("/")[0] not in settings.test_pictures, name)):
        sha = digests[name]
        first = known.get(sha) or fresh.get(sha)
        if first is None:
            fresh[sha] = name
        elif first != name and first in digests and digests[first] == sha:
            both = (first.split("/")[0] in settings.test_pictures) != (name.split("/")[0] in settings.test_pictures)
            kind = COPIES if not both else KNOWN_BOTH if sha in known else BOTH
            copies.append((kind, name, first))
    number = max(project.pictures, default=0)
    usable = _usable(settings, {name: places[name] for name in sorted(fresh.values())}, scan.findings)
    shas = {name: sha for sha, name in fresh.items()}
    for name, (width, height) in usable:
        number += 1
        scan.new.append(Picture(number, shas[name], name, width, height))
        if name.split("/")[0] in settings.test_pictures:
            scan.new_test.append(number)
    numbers = {file: image for image, file in project.files.items()} | {one.file: one.id for one in scan.new}
    for kind, name, first in copies:
        if first not in numbers:
            scan.findings.repair(UNREADABLE, f"{name}: the same bytes as {first}")
            continue
        scan.findings.repair(kind, f"{name} is {first}")
        if project.copies.get(name) != numbers[first]:
            scan.copies[name] = numbers[first]


def _usable(
    settings: ProjectSettings, places: Mapping[str, Path], findings: Findings
) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name and the upright size of each picture that can be decoded, and note the others."""
    own = settings.decoding

    def opened(given: tuple[str, Path, tuple[int, int]]) -> tuple[str, tuple[int, int] | PictureError]:
        name, path, size = given
        try:
            decode(path.read_bytes(), name, size, own)
        except PictureError as error:
            return name, error
        except OSError as error:
            return name, PictureError(NOT_READ, f"{name} ({error.strerror or error})")
        return name, size

    with pillow_limits(own.max_pixels), ThreadPoolExecutor(os.cpu_count()) as pool:
        sized = list(_sized(places, own, findings))
        for name, found in tracked(pool.map(opened, sized), "decode", len(sized), "picture"):
            if isinstance(found, PictureError):
                if found.kind in BY_SETTING:
                    findings.repair(BY_SETTING[found.kind], found.place)
                else:
                    findings.repair(UNREADABLE, f"{found.place}: {found.kind.title}")
            else:
                yield name, found


def _sized(
    places: Mapping[str, Path], own: PictureSettings, findings: Findings
) -> Iterator[tuple[str, Path, tuple[int, int]]]:
    for name, path in tracked(places.items(), "sizes", len(places), "picture"):
        try:
            yield name, path, picture_size(path, own.exif)
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
