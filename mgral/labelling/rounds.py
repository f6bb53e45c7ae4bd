"""Opens rounds and publishes their batches: each part is done once, even if a command was interrupted."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mgral.artefacts.files import write_bytes
from mgral.config import Config, images_in
from mgral.data.findings import Findings
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import PICTURES, Snapshot, load_snapshot
from mgral.errors import InputError, number_of, program
from mgral.labelling.ledger import Writer, writing
from mgral.labelling.opening import (
    CONFIG,
    SNAPSHOT,
    check_config,
    check_exif,
    check_rounds,
    draw_audit,
    make_snapshot,
    round_config,
    round_folder,
    snapshot_digest,
    write_chunks,
    write_round,
)
from mgral.labelling.scanning import moved_json, remember_files, scan_events, scan_pictures
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project
from mgral.labelling.status import ADD_CLASSES, IMPORT, spent


@dataclass
class Opened:
    """A round that is to be computed."""

    number: int
    findings: Findings = field(default_factory=Findings)
    """What the scan of the pictures found."""


def record_pictures(
    folder: Path, writer: Writer, settings: ProjectSettings, project: Project, take_changed: bool = False
) -> tuple[Project, Findings, set[int]]:
    """Look for pictures, write what is new to the ledger, and return the project as it is then.

    Returns
    -------
    The project, what was odd, and the numbers of pictures that are missing now.

    Raises
    ------
    InputError
        As `check_exif` and `scan_pictures` do; then nothing is written.
    """
    check_exif(folder, settings, project)
    scan = scan_pictures(folder, settings, project, take_changed)
    remember_files(folder, scan)
    events_by_kind = scan_events(scan)
    for kind, changes in events_by_kind.items():
        writer.add(kind, changes)
    if any(events_by_kind.values()):
        project = load_project(folder)
    path = folder / PICTURES / "moved.json"
    if scan.moved or scan.missing or path.exists():
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, moved_json(project, scan.missing))
    return project, scan.findings, scan.missing


def open_round(folder: Path, anyway: bool = False, training: bool = False) -> Opened:
    """Open the next round, or return the one whose batch is not made yet.

    Parameters
    ----------
    anyway
        Open it even if no label of the last round was imported.
    training
        Open one that trains a detector and chooses nothing, and so uses no budget.

    Raises
    ------
    InputError
        Where there is nothing to label, the budget is spent, or nothing has come back.
    """
    with writing(folder) as writer:
        settings, project = load_project_settings(folder), load_project(folder)
        project = _with_unrecorded_round(folder, writer, project)
        check_rounds(folder, project)
        if unfinished := sorted(set(project.rounds) - set(project.sent)):
            if (unfinished[0] in project.trainings) != training:
                command = "next" if training else "train"
                raise InputError(
                    f"round {unfinished[0]} is not finished; continue it first: {program()} project {command}"
                )
            return Opened(unfinished[0])
        check_config(folder, settings, project)
        if not project.classes:
            raise InputError(f"there is no class to label; add yours first: {program()} project {ADD_CLASSES}")
        project, findings, missing = record_pictures(folder, writer, settings, project)
        _check_labels_came_back(project, anyway or training)
        audit = [] if training else draw_audit(settings, project, missing)
        for image in audit:
            project.images[image].role = "audit"
        number = max(project.rounds, default=0) + 1
        snapshot = make_snapshot(settings, project, number, write_chunks(folder, project), missing)
        config = round_config(folder, settings, project, snapshot)
        if not training:
            config = _with_budget(settings, project, config, missing, bool(audit))
            controls = control_count(settings, images_in(config.budget))
            snapshot = replace(snapshot, controls=controls)
            config = config.model_copy(update={"budget": images_in(config.budget) - controls})
        elif not complete(snapshot.labelled):
            raise InputError(
                f"no picture to learn from is labelled yet; import labels first: {program()} project {IMPORT}"
            )
        writer.add("audit", [{"image": image} for image in audit])
        snapshot = replace(snapshot, training=training)
        _add_round(writer, snapshot, write_round(folder, snapshot, config))
        return Opened(number, findings)


def control_count(settings: ProjectSettings, batch: int) -> int:
    """Return how many pictures of a batch are drawn at random: `control` of it, one at least, if that leaves any."""
    return min(max(1, round(settings.control * batch)), batch - 1) if settings.control else 0


def end_training(folder: Path, number: int) -> None:
    """Note in the ledger that a round that chooses nothing is done."""
    with writing(folder) as writer:
        if number not in load_project(folder).sent:
            writer.add("sent", [{"round": number}])


def _with_unrecorded_round(folder: Path, writer: Writer, project: Project) -> Project:
    """Add a round whose folder was written when a command was killed, before the ledger knew of it, if there is one.

    Returns the project as it is then.
    """
    number = max(project.rounds, default=0) + 1
    target = round_folder(folder, number)
    if not target.exists():
        return project
    snapshot = load_snapshot(target / SNAPSHOT) if (target / SNAPSHOT).is_file() else None
    if snapshot is None or snapshot.project != project.id:
        raise InputError(f"{target} was not made by this project, and the next round needs that name; move it away")
    _add_round(writer, snapshot, snapshot_digest(folder, number))
    return load_project(folder)


def _add_round(writer: Writer, snapshot: Snapshot, digest: str) -> None:
    training = {"training": True} if snapshot.training else {}
    writer.add("round", [{"round": snapshot.round, "snapshot": digest, **training}])


def _check_labels_came_back(project: Project, anyway: bool) -> None:
    """Raise InputError where no label of the last round has come back, unless the next one is wanted anyway."""
    if not project.sent or anyway:
        return
    last_round = max((number for number, images in project.sent.items() if images), default=0)
    if last_round and all(project.images[image].state in ("sent", "withdrawn") for image in project.sent[last_round]):
        raise InputError(
            f"no label of round {last_round} was imported, so a new round has no more information than the last one; "
            f"start it anyway (--anyway), or import labels first: {program()} project {IMPORT}"
        )


def _with_budget(
    settings: ProjectSettings, project: Project, config: Config, missing: set[int], audit_drawn: bool
) -> Config:
    """Return the configuration with a batch no larger than what is left of the budget, and of the pictures.

    Parameters
    ----------
    audit_drawn
        Whether the audit set is drawn in this round.
    """
    audit = sum(image.role == "audit" and image.state == "untouched" for image in project.images.values())
    budget_left = settings.budget - spent(project) - audit
    pool = sum(
        not image.role and image.state == "untouched" and number not in missing
        for number, image in project.images.items()
    )
    if audit_drawn and (budget_left <= 0 or not pool):
        raise InputError(
            f"the audit set of {number_of(audit, 'picture')} leaves nothing to choose of "
            f"{number_of(len(project.images), 'picture')} and a "
            f"budget of {settings.budget}; lower `audit` in project.yaml, or raise `budget`"
        )
    if budget_left <= 0:
        raise InputError(
            f"the budget of {number_of(settings.budget, 'picture')} is used; raise `budget` in project.yaml to "
            f"continue, or train on all labels ({program()} project train) and export them "
            f"({program()} project export)"
        )
    if not pool:
        raise InputError(_nothing_left(project, missing))
    return config.model_copy(update={"budget": min(settings.batch, budget_left, pool)})


def _nothing_left(project: Project, missing: set[int]) -> str:
    """Return why no picture can be chosen."""
    trainable = {number for number, image in project.images.items() if not image.role}
    missing_count = sum(project.images[number].state == "untouched" for number in trainable & missing)
    reasons = {
        "of the audit or test set": len(project.images) - len(trainable),
        "missing": missing_count,
        "sent, labelled, skipped or withdrawn": len(trainable) - missing_count,
    }
    text = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
    return f"there is no picture left to choose: {text}; put new pictures into the folders of pictures"


Publish = Callable[[Project, ProjectSettings, int, Path], Sequence[dict[str, object]]]
"""Writes the files of a round's batch into a folder, and returns the events of what is sent."""


def publish_round(folder: Path, number: int, publish: Publish) -> None:
    """Put the files of a round's batch in its folder, and note in the ledger what is sent, once.

    The files are written to a folder beside it and then moved. If a command was killed before the ledger had the
    batch, the files that it left are deleted and written again.
    """
    with writing(folder) as writer:
        settings, project = load_project_settings(folder), load_project(folder)
        if number in project.sent:
            return
        batch_folder, target = folder / f".round{number}-batch", round_folder(folder, number)
        for left_over in [batch_folder, *(path for path in target.iterdir() if path.name not in (SNAPSHOT, CONFIG))]:
            _remove(left_over)
        events = publish(project, settings, number, batch_folder)
        for path in sorted(batch_folder.iterdir()):
            path.replace(target / path.name)
        batch_folder.rmdir()
        writer.add("sent", events or [{"round": number}])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
