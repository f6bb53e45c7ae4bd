"""The files of a batch: list, contact sheet, pictures and tasks, for one person or several."""

import csv
import hashlib
import io
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from mgral.artefacts.files import atomic_path
from mgral.compute.progress import tracked
from mgral.config import PictureSettings
from mgral.data.findings import Finding, Findings
from mgral.data.paths import is_file, link_or_copy
from mgral.errors import InputError, program
from mgral.labelling.exchange.read import FormatName
from mgral.labelling.exchange.tasks import check_tasks, write_tasks
from mgral.labelling.records import Batch
from mgral.labelling.results import ClassResult
from mgral.labelling.sharing import deal
from mgral.labelling.sheet import contact_sheet, thumbnails

SELECTION, SHEET, PICTURES, TASKS = "selection.csv", "sheet.html", "pictures", "tasks"
COLUMNS = ("file", "rank", "score", "reason", "image", "person")
CONTROL = "drawn at random, as a control"
MISSING = Finding(
    "pictures are not on disk",
    f"bring them back, find those that were renamed (`{program()} project scan`), or withdraw them from the project",
)
LONGEST = 200
"""Longest name of a picture, in bytes: file systems take 255, and labelling tools add to names."""
Owners = Mapping[int, tuple[str, ...]]
"""People who get each image, such as `person1`, by its number; empty if the batch is not split."""


def write_batch(
    batch: Batch,
    folder: Path,
    formats: Sequence[FormatName],
    notes: Sequence[str],
    *,
    people: int = 1,
    shared: float = 0.0,
    prefix: Callable[[str], str] = "{}/".format,
    settings: PictureSettings | None = None,
    results: Sequence[ClassResult] = (),
) -> Owners:
    """Write the files of a batch into a new folder, which appears completely or not at all.

    The folder contains selection.csv, sheet.html, pictures/ (hard links, or copies where links are impossible) and
    tasks/FORMAT/. If the batch is split, it contains selection.csv and sheet.html of the whole batch, and a folder
    person1/, person2/, ... with all four for each share.

    Parameters
    ----------
    formats
        Formats of the tasks to write.
    notes
        Why these pictures were chosen, a paragraph each, for the sheet.
    people, shared
        Number of people, and the fraction of the pictures that two of them get; see `mgral.labelling.sharing.deal`.
    prefix
        Returns the text before the name of a picture in tasks for Label Studio, given the folder of the picture in
        the batch: `pictures` or `person1/pictures`.
    settings
        How picture files are decoded; the default settings unless given.
    results
        The detector's score of each class, for the sheet.

    Returns
    -------
    The people who get each image.

    Raises
    ------
    InputError
        Where the folder is there already, pictures are missing, or the tasks cannot be written, naming all faults.
    StepError
        Where it cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists already; delete it or name another folder")
    check_pictures([task.path for task in batch.tasks], "the batch")
    for format_name in formats:
        check_tasks(batch, format_name)
    owners, sources = _owners(batch, people, shared), thumbnails(batch.tasks, settings or PictureSettings())
    with atomic_path(folder) as partial:
        partial.mkdir()
        for person in ["", *(_name(number) for number in range(people) if people > 1)]:
            share = _share(batch, owners, person)
            if person and not share.tasks:  # more people than pictures
                continue
            share_folder = partial / person
            share_folder.mkdir(exist_ok=True)
            blinded_share = blinded(share)
            (share_folder / SELECTION).write_bytes(selection_csv(blinded_share if person else share, owners))
            sheet = contact_sheet(blinded_share, notes, sources, results, person)
            (share_folder / SHEET).write_text(sheet, encoding="utf-8", newline="\n")
            if person or people == 1:
                _place_pictures(share, share_folder / PICTURES)
                task_prefix = prefix(f"{person}/{PICTURES}" if person else PICTURES)
                for format_name in formats:
                    write_tasks(blinded_share, share_folder / TASKS / format_name, format_name, prefix=task_prefix)
    return owners


def blinded(batch: Batch) -> Batch:
    """Return a batch that does not tell which of its tasks were drawn as controls: without their scores.

    A person who knows might label them with less care, and spoil the comparison.
    """
    if not any(task.control for task in batch.tasks):
        return batch
    return replace(batch, tasks=tuple(replace(task, score=None, chosen=True, control=False) for task in batch.tasks))


def selection_csv(batch: Batch, owners: Owners) -> bytes:
    """Return a table of a batch, best first, which spreadsheets open: UTF-8 with a mark at its start."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for task in sorted(batch.tasks, key=lambda task: task.rank):
        score = "" if task.score is None else f"{task.score:.6g}"
        reason = task.reason if task.chosen else CONTROL
        if task.chosen and task.control:
            reason = f"{reason}; also {CONTROL}"
        writer.writerow([task.name, task.rank, score, reason, task.image, "; ".join(owners[task.image])])
    return text.getvalue().encode("utf-8-sig")


def unique_names(paths: Sequence[PurePath]) -> list[str]:
    """Return a name without folders for each of some pictures, no two of which differ by their suffix or case alone.

    A picture keeps its name unless others share it; these get the names of as few folders above them as tell them
    apart, and then numbers. What cannot be shown, and a backslash, becomes `_`: labelling tools would refuse it.
    """
    names: dict[int, str] = {}
    taken: set[str] = set()
    unnamed = list(range(len(paths)))
    for depth in range(1, max((len(path.parts) for path in paths), default=0) + 1):
        tried = {index: _shortened("_".join(_folders(paths[index])[-depth:])) for index in unnamed}
        counts = Counter(map(_key, tried.values()))
        unique = {index: name for index, name in tried.items() if counts[_key(name)] == 1 and _key(name) not in taken}
        names |= unique
        taken |= set(map(_key, unique.values()))
        unnamed = [index for index in unnamed if index not in unique]
    for index in unnamed:
        base = PurePath(_shortened(_folders(paths[index])[-1]))
        number, name = 1, base.name
        while _key(name) in taken:
            number += 1
            name = f"{base.stem}_{number}{base.suffix}"
        names[index] = name
        taken.add(_key(name))
    return [names[index] for index in range(len(paths))]


def _shortened(name: str) -> str:
    """Return a name that a file system takes, with a digest in the place of what is too long."""
    path = PurePath(name)
    if len(name.encode()) <= LONGEST:
        return name
    start = path.stem.encode()[: LONGEST // 2].decode(errors="ignore")
    return f"{start}_{hashlib.sha256(name.encode()).hexdigest()[:8]}{path.suffix}"


def _folders(path: PurePath) -> tuple[str, ...]:
    """Return the names in a path as they can be shown, without the root of an absolute one."""
    names = (part for part in path.parts if part != path.anchor)
    return tuple("".join(c if c.isprintable() and c != "\\" else "_" for c in name).strip() for name in names)


def _key(name: str) -> str:
    """Return what two names in a batch must not have in common: the name without suffix and capital letters."""
    return unicodedata.normalize("NFC", PurePath(name).stem).casefold()


def check_pictures(paths: Iterable[Path], needed_for: str) -> None:
    """Raise InputError that names the pictures, needed for something such as a batch, that are not on disk."""
    findings = Findings()
    for path in paths:
        if not is_file(path):
            findings.fault(MISSING, str(path))
    findings.raise_faults(needed_for, "")


def _owners(batch: Batch, people: int, shared: float) -> Owners:
    tasks = sorted(batch.tasks, key=lambda task: task.rank)
    if people == 1:
        return {task.image: () for task in tasks}
    owners = deal(len(tasks), people, shared)
    return {task.image: tuple(map(_name, person_numbers)) for task, person_numbers in zip(tasks, owners, strict=True)}


def _name(person: int) -> str:
    return f"person{person + 1}"


def _share(batch: Batch, owners: Owners, person: str) -> Batch:
    if not person:
        return batch
    return replace(batch, tasks=tuple(task for task in batch.tasks if person in owners[task.image]))


def _place_pictures(batch: Batch, folder: Path) -> None:
    folder.mkdir()
    for task in tracked(batch.tasks, "pictures", len(batch.tasks), "picture"):
        link_or_copy(task.path, folder / task.name)
