"""A project is made from folders of pictures, and from the labels that there are."""

import hashlib
import os
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mgral.artefacts.files import write_bytes
from mgral.config import Config, DeepGrey, Exif, registry
from mgral.data.findings import Finding, Findings, described
from mgral.data.paths import files_below
from mgral.errors import InputError, program
from mgral.labelling.classes import add_classes, today
from mgral.labelling.exchange.read import FormatName, labels_at, read_labels
from mgral.labelling.importing import UNKNOWN_CLASSES, UNKNOWN_PICTURES, changes_by, classes_of, note_unused
from mgral.labelling.ledger import FILE as LEDGER
from mgral.labelling.ledger import LOCK, Line, line_text, new_line
from mgral.labelling.names import Names
from mgral.labelling.opening import planned_config
from mgral.labelling.records import CONFIRMED, Box, ReturnedFile
from mgral.labelling.scanning import SEEN, remember_files, scan_events, scan_pictures
from mgral.labelling.settings import FILE, ProjectSettings, audit_size, valid_settings, write_project_settings
from mgral.labelling.state import Project, replay
from mgral.labelling.status import ADD_CLASSES, status_lines

AT_START = {
    UNKNOWN_PICTURES: Finding(
        UNKNOWN_PICTURES.title,
        f"correct the names; or begin without these labels, and then `{program()} project import FILE --unknown "
        "leave_out` imports the others",
    ),
    UNKNOWN_CLASSES: Finding(
        UNKNOWN_CLASSES.title, "name them in --classes, or give their names here (`--rename THEIRS=OURS`)"
    ),
}
"""What is advised where there is no project yet."""
NOT_IN_GIT = ".gitignore"
PULLED = "pulled"
"""Folder in the project's folder for the last answers of labelling tools' servers."""
REMADE = (
    "results/",
    ".snakemake/",
    SEEN,
    LOCK,
    "round*/pictures/",
    "round*/person*/pictures/",
    "replay*/data/",
    f"{PULLED}/",
)
"""Lines of .gitignore: what a project can make again."""


@dataclass(frozen=True)
class Start:
    """What a person says about a new project."""

    name: str
    pictures: tuple[Path, ...]
    test_pictures: Path | None
    classes: tuple[str, ...]
    labels: tuple[Path, ...]
    test_labels: Path | None
    label_format: FormatName | None
    empty: str
    renames: Mapping[str, str]
    budget: int
    batch: int
    strategy: str
    video_names: str | None
    exif: Exif
    deep_grey: DeepGrey
    max_pixels: int


def start_project(folder: Path, start: Start, identity: str) -> tuple[list[str], Findings]:
    """Make a project in a folder.

    Parameters
    ----------
    folder
        It may be there already, and contain pictures, but no project.
    identity
        A text that no other project has.

    Returns
    -------
    Lines that say what was found and chosen, and what was odd.

    Raises
    ------
    InputError
        Where there is a project already, or anything is wrong with pictures or labels; then nothing is written.
    """
    if (folder / FILE).exists():
        raise InputError(f"{folder} holds a project already; go on with it, or choose another folder")
    if (folder / LEDGER).exists():
        raise InputError(
            f"{folder} holds the {LEDGER} of a project without its {FILE}; bring that back, or choose another folder"
        )
    settings = _settings(folder, start)
    lines = [new_line("project", [{"id": identity, "name": start.name, "exif": start.exif}])]
    scan = scan_pictures(folder, settings, replay(lines))
    findings = scan.findings
    if not scan.new:
        head = "there is no picture that can be used; correct --pictures, or the pictures:"
        raise InputError("\n".join([head, *described(findings.repairs, "")]))
    if len(scan.new) == len(scan.new_test):
        head = (
            "there is no picture to label: those of --pictures are of the test set too, or cannot be used; correct "
            "--pictures or --test-pictures:"
        )
        raise InputError("\n".join([head, *described(findings.repairs, "")]))
    lines += [new_line(kind, events) for kind, events in scan_events(scan).items()]
    project = replay(lines)
    files = _label_files(settings, start, project, findings)
    names = start.classes or tuple(
        dict.fromkeys(start.renames.get(name, name) for name in classes_of(files.values()))
    )
    if names:
        lines.append(new_line("classes", [add_classes(project, names)]))
    for path, returned_file in files.items():
        changes = changes_by(replay(lines), returned_file, findings, start.renames)
        lines.append(new_line("labels", changes.events, path.resolve().name, digest_of(labels_at(path))))
    note_unused(start.renames, files.values(), findings)
    findings.faults = {AT_START.get(kind, kind): places for kind, places in findings.faults.items()}
    findings.raise_faults("the project", "")
    new_files = [LEDGER, SEEN]
    if not (folder / NOT_IN_GIT).exists():
        new_files.append(NOT_IN_GIT)
    try:
        if NOT_IN_GIT in new_files:
            write_bytes(folder / NOT_IN_GIT, "".join(f"/{name}\n" for name in REMADE).encode())
        write_bytes(folder / LEDGER, b"".join(line_text(line) for line in lines if line.events))
        remember_files(folder, scan)
        write_project_settings(folder, settings)
    except BaseException:  # all of a project, or none of it
        for name in new_files:
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise
    return _summary(folder, settings, lines), findings


def _settings(folder: Path, start: Start) -> ProjectSettings:
    names = _folder_names(start.pictures)
    test = {"test_set": _from_project(folder, start.test_pictures)} if start.test_pictures else {}
    values = {
        "project": start.name,
        "pictures": {name: _from_project(folder, path) for name, path in names.items()},
        "test_pictures": test,
        "budget": start.budget,
        "batch": start.batch,
        "strategy": start.strategy,
        "video_names": start.video_names,
        "exif": start.exif,
        "deep_grey": start.deep_grey,
        "max_pixels": start.max_pixels,
    }
    settings = valid_settings(values, "what is asked for")
    if start.test_labels and not start.test_pictures:
        raise InputError("--test-labels needs --test-pictures, the folder of their pictures")
    planned_config(settings, 1, 1)
    return settings


def _folder_names(paths: tuple[Path, ...]) -> dict[str, Path]:
    """Return the folders of pictures by the names that they get in the project: their own, made plain and unique."""
    folders: dict[str, Path] = {}
    for path in paths:
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", path.resolve().name).lstrip("_.-") or "pictures"
        name, number = plain, 1
        while name in folders or name == "test_set":
            number += 1
            name = f"{plain}{number}"
        folders[name] = path
    return folders


def _from_project(folder: Path, path: Path) -> str:
    """Return a path as it is seen from the project's folder; an absolute one as it is."""
    return str(path) if path.is_absolute() else os.path.relpath(path.resolve(), folder.resolve())


def _label_files(
    settings: ProjectSettings, start: Start, project: Project, findings: Findings
) -> dict[Path, ReturnedFile]:
    paths = [*start.labels, *([start.test_labels] if start.test_labels else [])]
    returned_files = {}
    for path in paths:
        returned_files[path] = read_labels(
            path,
            size_finder(project),
            format=start.label_format,
            shapes=settings.shapes,
            empty="checked" if start.empty == "checked" else "unknown",
        )
        merge_findings(findings, returned_files[path].findings)
    return returned_files


def size_finder(project: Project) -> Callable[[str], tuple[int, int] | None]:
    """Return a function that gives the size of the picture that a file means by a name; None where it is unknown."""
    names = Names(project)

    def size_of(name: str) -> tuple[int, int] | None:
        images = names.find(name)
        if len(images) != 1:
            return None
        picture = project.pictures[next(iter(images))]
        return picture.width, picture.height

    return size_of


def sent_finder(project: Project) -> Callable[[str], list[Box]]:
    """Return a function that gives the boxes, of today's classes, that a picture was sent with, by its name."""
    names = Names(project)

    def sent_with(name: str) -> list[Box]:
        images = names.find(name)
        if len(images) != 1:
            return []
        boxes = project.images[next(iter(images))].sent_boxes
        return [Box(x, y, w, h, today(project, class_id)) for x, y, w, h, class_id in boxes]

    return sent_with


def merge_findings(findings: Findings, added: Findings) -> None:
    """Add faults and repairs that were found elsewhere to the findings."""
    for kind, places in added.faults.items():
        findings.faults.setdefault(kind, []).extend(places)
    for kind, places in added.repairs.items():
        findings.repairs.setdefault(kind, []).extend(places)


def digest_of(path: Path) -> str:
    """Return a digest of a file's content or, for a folder, of the names and contents of all files in it.

    It is a SHA-256 in hexadecimal digits; for a file it is not the SHA-256 of its bytes alone.
    """
    digest = hashlib.sha256()
    for file_path in files_below(path) if path.is_dir() else [path] if path.is_file() else []:
        digest.update(f"{file_path.relative_to(path)}\n".encode(errors="surrogateescape"))
        try:
            with file_path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"{file_path}: {error.strerror}; correct its permissions, and run again") from None
    return digest.hexdigest()


def _detector(config: Config) -> str:
    """Return what detector it is and what it starts from, for a person."""
    detector = config.detector.trained
    backbone = getattr(detector, "backbone", None)
    start = f"fine-tuned from weights ({detector.weights})" if detector.weights else "trained from random weights"
    return f"{detector.name}{f' on {backbone}' if backbone else ''}, {start}"


def _summary(folder: Path, settings: ProjectSettings, lines: list[Line]) -> list[str]:
    """Return lines that say what a new project has, what was chosen for it, and what comes next."""
    project = replay(lines)
    info = registry.strategy(settings.strategy)
    config = planned_config(settings, 1, 1)
    summary = status_lines(settings, project)
    if any(image.role == "test" for image in project.images.values()):
        summary.append("the test set is what rounds are evaluated on; no audit set is drawn")
    elif not (size := audit_size(settings, len(project.images))):
        summary.append("there is no audit set, so rounds have no scores (`audit` in project.yaml)")
    else:
        summary.append(
            f"the first batch begins with an audit set of {size}, drawn at random and never trained on, so that "
            "the scores of all rounds mean something (`audit` in project.yaml)"
        )
    if settings.budget > len(project.images):
        summary.append(
            f"the budget of {settings.budget} is for more than the {len(project.images)} pictures that there are: "
            "everything would be labelled, and nothing chosen (`budget` in project.yaml)"
        )
    summary += [
        f"detector: {_detector(config)}; it starts anew in each round, and its length follows from the labels "
        "(`settings: {detector: ...}` in project.yaml)",
        f"strategy: {info.name}, {info.summary} (`strategy` in project.yaml)",
    ]
    if not any(image.state in CONFIRMED and not image.role for image in project.images.values()):
        summary.append(
            "first batch: without labels it covers the pictures by what a pre-trained network sees in them"
        )
    cd_command = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    return [*summary, f"next: {cd_command}{program(folder)} project {'next' if project.classes else ADD_CLASSES}"]
