"""Labels that come back: compared with what a project knows, and written to its ledger."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.data.findings import Finding, Findings
from mgral.errors import program
from mgral.evaluation.overlap import pairs
from mgral.labelling.classes import classes_called, today
from mgral.labelling.names import NamedImages, Names
from mgral.labelling.records import CONFIRMED, Box, Returned, ReturnedFile
from mgral.labelling.state import BoxRow, ImageState, Label, Project

OTHER_PROJECT = Finding("files are of another project", "import them there, or take out what names the project")
UNKNOWN_PICTURES = Finding(
    "pictures are not of this project",
    f"correct the names, or run `{program()} project scan` if they are new; `--unknown leave_out` imports the others",
)
PICTURES_LEFT_OUT = Finding("pictures are not of this project", "left out (`--unknown leave_out`)")
AMBIGUOUS = Finding("pictures have a name that several have", "give their paths as they are in the project")
LIKE_NAMES = Finding(
    "pictures are in another folder in the file than in the project, or their names begin with eight more characters",
    "found by the last part of their names; check that they are the same pictures",
)
UNKNOWN_CLASSES = Finding(
    "classes are not of this project",
    f"add them (`{program()} project classes add NAME`, NAME being theirs), or give their names here "
    "(`--rename THEIRS=OURS`)",
)
NOTHING_TO_RENAME = Finding(
    "names given to --rename are of no class in the labels", "nothing was renamed; correct them"
)
OTHER_SIZES = Finding(
    "pictures have another size than in the labels",
    "the boxes are of other pictures, or of copies of another size: export them for the pictures of the project",
)
TEST_PICTURES = Finding("pictures of the test set were labelled anew", "used, as corrections of the test set")
CONTRADICTIONS = Finding(
    "pictures were labelled differently by two people",
    "all labels are kept, and the latest used (`conflicts` in project.yaml)",
)
TWICE = Finding(
    "pictures are in the file twice, labelled differently by the same person or without a person's name",
    "the latest is used, or the last with boxes where the file has no times",
)
OTHER_PICTURE = Finding(
    "entries have the number of one picture and the name of another",
    "bring the file back as the labelling tool wrote it, or take out `mgral_id` where the name is right",
)
FORMER_NAMES = Finding("classes have a former name", "taken for what they are now")
SEVERAL_MEANINGS = Finding(
    "classes have a name that was another class's when the pictures were sent",
    "give the class that is meant (`--rename NAME=NAME` for the class that has the name now)",
)
STALE = Finding("labels are older than another label of the same person", "left out")
DRAFTS = Finding("drafts are of pictures that the same person has finished", "left out")
WITHDRAWN = Finding("pictures are withdrawn", f"kept, and not used until `{program()} project recall`")


@dataclass
class Changes:
    """What an import changes."""

    by_label: dict[tuple[int, str], dict[str, Any]] = field(default_factory=dict)
    """Events to write to the ledger, by image and person."""
    new: int = 0
    """First labels of a person, of images without a confirmed label so far."""
    corrected: int = 0
    """Labels that replace an earlier one: of the same person, or where one of the two names no person."""
    added: int = 0
    """First labels of a person, of images that others have labelled."""
    unchanged: int = 0
    """Labels that are in the ledger already, or whose image this same file has brought before."""
    untouched: int = 0
    """Pictures of the file that nobody has looked at."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events to write to the ledger, in the order of the file."""
        return list(self.by_label.values())


def changes_by(
    project: Project,
    returned_file: ReturnedFile,
    findings: Findings,
    renamed: Mapping[str, str],
    leave_out_unknown: bool = False,
    conflicts: str = "latest",
    imported_before: Collection[int] = (),
) -> Changes:
    """Return what importing a file would change, and note what is wrong or odd with it.

    Parameters
    ----------
    returned_file
        The file as its reader found it.
    findings
        Where faults and repairs are noted, beside the reader's own.
    renamed
        Names of the project's classes by those of the file.
    leave_out_unknown
        Leave out pictures that are not of the project; else they are faults.
    conflicts
        Setting of the project, for what is said about contradictions.
    imported_before
        Images whose labels were imported from this same file before. It changes nothing of them, even if they were
        labelled again since.
    """
    if returned_file.project is not None and returned_file.project != project.id:
        findings.fault(OTHER_PROJECT, f"{returned_file.source} (project {returned_file.project})")
        return Changes()
    changes, names = Changes(), Names(project)
    classes = _Classes(project, renamed, findings, str(returned_file.source))
    reasons_by_name = _lookalikes(project, returned_file, names, findings)
    latest_labels: dict[tuple[int, str], Label] = {}
    recencies: dict[tuple[int, str], tuple[datetime, bool]] = {}
    for returned in returned_file.labels:
        image = _image_of(project, returned, names, reasons_by_name, returned_file, findings, leave_out_unknown)
        if image is None or not _size_fits(project, image, returned, findings):
            for box in returned.boxes if image is not None or not leave_out_unknown else ():
                classes.find(box.label, -1)  # all faults are named at once
            continue
        if returned.state == "untouched":
            changes.untouched += 1
            continue
        if image in imported_before:
            changes.unchanged += 1
            continue
        sent_at = project.images[image].sent_at
        moment = _moment(returned.at)
        label = Label(
            by=returned.by,
            state=returned.state,
            boxes=tuple((*_rounded(box), classes.find(box.label, sent_at)) for box in returned.boxes),
            at=moment.isoformat(timespec="seconds") if moment else "",
            imported=("", 0),
            seconds=returned.seconds,
            reason=returned.reason,
        )
        key, recency = (image, label.by), (moment or datetime.min.replace(tzinfo=UTC), bool(label.boxes))
        if not label.same_as(latest_labels.get(key, label)):
            findings.repair(TWICE, returned.file)
        if recency >= recencies.get(key, recency):  # two within a second are not equally late
            latest_labels[key], recencies[key] = label, recency
    classes.note()
    labels_by_image: dict[int, list[Label]] = defaultdict(list)
    for (image, _), label in latest_labels.items():
        if _apply(project, image, label, changes, findings, labels_by_image[image]):
            labels_by_image[image].append(label)
    for image, labels in labels_by_image.items():
        _note_contradictions(project, image, labels, findings, conflicts)
    return changes


class _Classes:
    """Finds the classes that a file means by their names, and notes those that are not clear, once each."""

    def __init__(self, project: Project, renamed: Mapping[str, str], findings: Findings, source: str) -> None:
        self._project, self._renamed, self._findings, self._source = project, renamed, findings, source
        self._notes: dict[tuple[str, Finding], str] = {}
        self._now = {name: class_id for class_id, name in project.classes.items()}

    def find(self, name: str, sent_at: int) -> int:
        """Return the class of a box, 0 where there is none or several; see `classes_called`."""
        if name in self._renamed:
            class_ids = {self._now[our_name] for our_name in [self._renamed[name]] if our_name in self._now}
        else:
            class_ids = classes_called(self._project, name, sent_at)
        if len(class_ids) != 1 and name in self._renamed:
            self._notes[name, self._no_such_class()] = f"{name}={self._renamed[name]}"
            return 0
        if len(class_ids) != 1:
            self._notes[name, SEVERAL_MEANINGS if class_ids else UNKNOWN_CLASSES] = name
            return 0
        (class_id,) = class_ids
        if name not in self._renamed and self._now.get(name) != class_id:
            self._notes[name, FORMER_NAMES] = f"{name}, now {today(self._project, class_id)}"
        return class_id

    def _no_such_class(self) -> Finding:
        names = ", ".join(self._now) or "none"
        return Finding("names given by --rename are no classes of this project", f"give one that it has: {names}")

    def note(self) -> None:
        """Note what was not clear."""
        for (_, kind), text in sorted(self._notes.items(), key=lambda item: item[0][0]):
            note = self._findings.repair if kind is FORMER_NAMES else self._findings.fault
            note(kind, f"{self._source}: {text}")


def _rounded(box: Box) -> tuple[float, float, float, float]:
    return round(box.x, 2), round(box.y, 2), round(box.width, 2), round(box.height, 2)


def _lookalikes(project: Project, returned_file: ReturnedFile, names: Names, findings: Findings) -> dict[str, str]:
    """Return names that only resemble that of a picture which the file has under another name, each with the reason.

    A name that resembles that of a picture which the file has under no other name is taken for it, and noted.
    """
    copy_stems: dict[int, set[str]] = defaultdict(set)
    for file, image in project.copies.items():
        copy_stems[image].add(PurePosixPath(file).stem)
    matches_by_picture: dict[tuple[int, str], dict[str, NamedImages]] = defaultdict(dict)
    touched = set()
    for returned in returned_file.labels:
        match = names.look_up(returned.file)
        # Label Studio keeps no folder of what is uploaded, and names it anew.
        is_clear = (returned_file.format == "label_studio" and match.uploaded) or (
            returned_file.project is not None and returned.image in project.images
        )
        if len(match.images) == 1 and not is_clear:
            (image,) = match.images
            stem = PurePosixPath(returned.file).stem
            # a copy has a name of its own
            matches_by_picture[image, stem if stem in copy_stems[image] else ""][returned.file] = match
            touched |= {image} if returned.state != "untouched" else set()
    reasons_by_name = {}
    for (image, _), matches in matches_by_picture.items():
        file = project.files[image]
        for name, match in matches.items() if image in touched else ():
            is_like = len(matches) > 1 and (match.of_folder or match.uploaded or match.other_suffix)
            if is_like or (
                match.sent
                and any("/" in other_name and other_match.complete for other_name, other_match in matches.items())
            ):
                reasons_by_name[name] = f"{name}: not {file}, which the file has by another name"
            elif match.uploaded or match.other_suffix or (match.of_folder and file.count("/") > 1):
                findings.repair(LIKE_NAMES, f"{name}: {file}")
    return reasons_by_name


def _image_of(
    project: Project,
    returned: Returned,
    names: Names,
    reasons_by_name: Mapping[str, str],
    returned_file: ReturnedFile,
    findings: Findings,
    leave_out_unknown: bool,
) -> int | None:
    """Return the image that a label is of; None where there is none or it is not clear, which is noted."""
    images = set[int]() if returned.file in reasons_by_name else names.find(returned.file)
    named_files = ", ".join(sorted(project.files[image] for image in images)[:3])
    if returned_file.project is not None and returned.image in project.images:
        if returned.image in images or not images:
            return returned.image
        findings.fault(OTHER_PICTURE, f"{returned.file}: {project.files[returned.image]}, and {named_files}")
        return None
    if len(images) == 1:
        return next(iter(images))
    if images:
        findings.fault(AMBIGUOUS, f"{returned.file}: {named_files}")
    elif leave_out_unknown:
        findings.repair(PICTURES_LEFT_OUT, reasons_by_name.get(returned.file, returned.file))
    else:
        findings.fault(UNKNOWN_PICTURES, reasons_by_name.get(returned.file, returned.file))
    return None


def _size_fits(project: Project, image: int, returned: Returned, findings: Findings) -> bool:
    picture = project.pictures[image]
    if returned.size is None or returned.size == (picture.width, picture.height):
        return True
    width, height = returned.size
    findings.fault(
        OTHER_SIZES, f"{returned.file}: {width} x {height}, and the picture is {picture.width} x {picture.height}"
    )
    return False


def _apply(
    project: Project, image: int, label: Label, changes: Changes, findings: Findings, other_labels: Sequence[Label]
) -> bool:
    """Note what a label changes; return whether it changes anything.

    Parameters
    ----------
    other_labels
        New labels of the image in the same file.
    """
    state, file = project.images[image], project.files[image]
    earlier = state.labels.get(label.by)
    if earlier is not None:
        updated = replace(earlier, boxes=tuple(project.final_boxes(earlier)))  # the file's classes are today's too
        if label.same_as(updated) and (label.at or state.sent_at < earlier.imported[1]):
            changes.unchanged += 1
            changes.by_label[image, label.by] = {"image": image, "by": label.by, "known": True}
            return False
        if label.state == "draft" and earlier.state in CONFIRMED:
            findings.repair(DRAFTS, file)
            return False
        if label.at and earlier.at and label.at < earlier.at:
            findings.repair(STALE, f"{file}: {label.at}, and {earlier.at} is known")
            return False
        changes.corrected += 1
    elif not any(other.state in CONFIRMED for other in (*state.labels.values(), *other_labels)):
        changes.new += 1
    elif "" in state.labels or not label.by:
        changes.corrected += 1
    else:
        changes.added += 1
    if state.withdrawn is not None:
        findings.repair(WITHDRAWN, file)
    if state.role == "test" and state.labels:
        findings.repair(TEST_PICTURES, file)
    event: dict[str, Any] = {"image": image, "by": label.by, "state": label.state, "boxes": [*map(list, label.boxes)]}
    optional = {"at": label.at, "seconds": label.seconds, "reason": label.reason}
    event |= {key: value for key, value in optional.items() if value not in ("", None)}
    changes.by_label[image, label.by] = event
    return True


def _note_contradictions(
    project: Project, image: int, labels: Sequence[Label], findings: Findings, conflicts: str
) -> None:
    by_person = {**project.images[image].labels, **{label.by: label for label in labels}}
    confirmed = [label for label in by_person.values() if label.by and label.state in CONFIRMED]
    if contradicting(project, confirmed):
        people = ", ".join(sorted(label.by for label in confirmed))
        finding = Finding(CONTRADICTIONS.title, CONTRADICTIONS.advice)
        if conflicts == "leave_out":
            finding = Finding(CONTRADICTIONS.title, "kept, and not used until one of them is corrected (`conflicts`)")
        findings.repair(finding, f"{project.files[image]}: {people}")


def disagreeing(image: ImageState, project: Project) -> bool:
    """Return whether people have labelled an image differently, see `contradicting`."""
    return image.state in CONFIRMED and contradicting(
        project, [label for label in image.labels.values() if label.by and label.state in CONFIRMED]
    )


def contradicting(project: Project, labels: Sequence[Label]) -> bool:
    """Return whether any two of the confirmed labels of an image, by different people, differ in an object.

    Boxes match if they have the same class and an IoU of 0.5 or more. A class that was added after one of the
    two people had looked is not compared.
    """
    return any(not _same_objects(*_of_shared_classes(project, *pair)) for pair in combinations(labels, 2))


def _of_shared_classes(project: Project, *labels: Label) -> list[list[BoxRow]]:
    """Return the boxes of each label, without classes that another says nothing about."""
    # A label that is being imported has no `knew` yet: its person is taken to have known all classes.
    unasked_classes = frozenset[int]().union(*(project.incomplete(label) for label in labels if label.knew))
    return [[box for box in project.final_boxes(label) if box[4] not in unasked_classes] for label in labels]


def _same_objects(first: Sequence[BoxRow], second: Sequence[BoxRow]) -> bool:
    first_by_class, second_by_class = _by_class(first), _by_class(second)
    return first_by_class.keys() == second_by_class.keys() and all(
        len(boxes) == len(second_by_class[class_id]) == pairs(boxes, second_by_class[class_id])
        for class_id, boxes in first_by_class.items()
    )


def _by_class(boxes: Sequence[BoxRow]) -> dict[int, npt.NDArray[np.float64]]:
    rows_by_class: dict[int, list[tuple[float, ...]]] = defaultdict(list)
    for *coordinates, class_id in boxes:
        rows_by_class[class_id].append(tuple(coordinates))
    return {class_id: np.array(rows) for class_id, rows in rows_by_class.items()}


def _moment(at: str) -> datetime | None:
    """Return a time in UTC; None where it is none."""
    try:
        moment = datetime.fromisoformat(at)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def classes_of(files: Iterable[ReturnedFile]) -> list[str]:
    """Return the names of the classes that files declare or show, each once, in their order."""
    names = [
        name
        for file in files
        for name in (*file.classes, *(box.label for returned in file.labels for box in returned.boxes))
    ]
    return list(dict.fromkeys(names))


def note_unused(renamed: Iterable[str], files: Iterable[ReturnedFile], findings: Findings) -> None:
    """Note names to rename that are of no class in any of the files."""
    for name in sorted({*renamed} - {*classes_of(files)}):
        findings.repair(NOTHING_TO_RENAME, name)


def source_name(path: Path) -> str:
    """Return how the ledger calls a file that was imported; its name may be of another encoding."""
    return path.resolve().name.encode(errors="replace").decode()
