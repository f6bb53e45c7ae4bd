"""A check of a project's labels: detectors trained on parts of them look at the rest."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_json, write_bytes, write_json
from mgral.data.findings import Findings
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import Snapshot
from mgral.errors import InputError, program
from mgral.evaluation.coco import of_images
from mgral.evaluation.cross_validation import deal_folds, score_held_out, score_several
from mgral.evaluation.label_errors import Suspect, likely_errors
from mgral.labelling.experiments.comparing import (
    CHECK,
    SCORES,
    Experiment,
    Plan,
    changed_since,
    latest,
    open_experiment,
    refuse_damaged,
)
from mgral.labelling.experiments.copies import near_copies
from mgral.labelling.importing import disagreeing
from mgral.labelling.opening import planned_config
from mgral.labelling.records import CONFIRMED
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project

FOLDS = 5
NO_PROBABILITIES = (
    "a detector that is a command can check labels only if it writes probabilities; add them to detector.gives, or "
    "use another detector"
)
ERRORS = "errors.csv"
COLUMNS = ("file", "image", "kind", "class", "x", "y", "width", "height", "sure", "reason")


@dataclass
class Check:
    """What a check has found."""

    experiment: Experiment
    scores: dict[str, Any]
    """Content of scores.json, see `comparing.cross_validated`."""
    suspects: list[Suspect]
    """What may be wrong with labels that have not changed since, the surest first."""
    changed: int
    """Number of labelled pictures whose labels have changed since the check was opened."""


def run_check(
    folder: Path,
    folds: int | None = None,
    *,
    last: bool = False,
    cores: str | None = None,
    profile: Path | None = None,
    snakemake_options: Sequence[str] = (),
) -> tuple[Check, Findings]:
    """Check the labels of a project, or go on with the check that was begun; see `run_round`.

    Parameters
    ----------
    folds
        Detectors that are trained, each without the labels of its fold; `FOLDS` unless given.
    last
        Look at what the latest check has found, and train nothing.

    Raises
    ------
    InputError
        Where there are too few labels, or a check of other folds was begun.
    """
    if last:
        latest_check = latest(folder, CHECK)
        if latest_check is None or not latest_check.done:
            raise InputError(f"no check is done yet; make one, or continue it: {program()} project check")
        if not all(path.exists() for path in _targets(latest_check, latest_check.snapshot())):
            raise InputError(
                f"{latest_check.results} is not complete any more; make it again: {program()} project check"
            )
        with refuse_damaged(latest_check):
            return _outcome(latest_check), Findings()
    experiment = open_experiment(folder, CHECK, _plan(folder, folds or FOLDS))
    snapshot = experiment.snapshot()
    if folds is not None and len(snapshot.without) != folds:
        raise InputError(
            f"{experiment.name} was begun with {len(snapshot.without)} folds and is not done; continue without it, "
            f"or delete {experiment.own_folder} to start again"
        )
    targets = _targets(experiment, snapshot)
    if anew := not experiment.done or not all(path.exists() for path in targets):
        experiment.run(targets, cores, profile, snakemake_options)
    with refuse_damaged(experiment):
        if anew:
            write_json(experiment.own_folder / SCORES, _scores(experiment, snapshot))
        return _outcome(experiment), experiment.findings


def _targets(experiment: Experiment, snapshot: Snapshot) -> list[Path]:
    names = ["held_out.json", *(["metrics.json"] if complete(snapshot.audit) else [])]
    return [experiment.detector(fold) / name for fold in range(len(snapshot.without)) for name in names]


def _plan(folder: Path, folds: int) -> Plan:
    def plan(settings: ProjectSettings, project: Project, snapshot: Snapshot) -> tuple[tuple[int, ...], ...]:
        images = [image.id for image in complete(snapshot.labelled)]
        config = planned_config(settings, 1, len(images))
        if config.detector.command_gives is not None and "probabilities" not in config.detector.command_gives:
            raise InputError(NO_PROBABILITIES)
        groups = near_copies(folder, settings, project, images, config.near_copies)
        return deal_folds(np.array(images, dtype=np.int64), groups, folds, 0)

    return plan


def _scores(experiment: Experiment, snapshot: Snapshot) -> dict[str, Any]:
    truth, detections = _held_out(experiment, snapshot)
    audit = None
    if complete(snapshot.audit):
        folds = range(len(snapshot.without))
        by_fold = [read_json(experiment.detector(fold) / "detections.json") for fold in folds]
        audited = read_json(experiment.results / "dataset" / "test.json")
        audit = score_several(audited, by_fold, experiment.units([image["id"] for image in audited["images"]]))
    held_out = score_held_out(truth, detections, experiment.units([image["id"] for image in truth["images"]]))
    return {"name": experiment.name, "folds": len(snapshot.without), "held_out": held_out, "audit": audit}


def _held_out(experiment: Experiment, snapshot: Snapshot) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the labelled images as COCO JSON, and what was found in each by the detector that has not learnt it."""
    images = [image for fold in snapshot.without for image in fold]
    truth = of_images(read_json(experiment.results / "dataset" / "train.json"), images)
    folds = range(len(snapshot.without))
    return truth, [
        detection for fold in folds for detection in read_json(experiment.detector(fold) / "held_out.json")
    ]


def _outcome(experiment: Experiment) -> Check:
    """Compare labels with what was found, and write the list of likely errors."""
    settings, project = load_project_settings(experiment.folder), load_project(experiment.folder)
    snapshot = experiment.snapshot()
    truth, all_detections = _held_out(experiment, snapshot)
    if complete(snapshot.audit):
        # Detections of one detector for each image, as in the held-out images, so that scores can be compared.
        audit = read_json(experiment.results / "dataset" / "test.json")
        folds = len(snapshot.without)
        fold_of = {image["id"]: index % folds for index, image in enumerate(audit["images"])}
        for fold in range(folds):
            detections = read_json(experiment.detector(fold) / "detections.json")
            all_detections += [detection for detection in detections if fold_of[detection["image_id"]] == fold]
        truth = {**truth, **{key: [*truth[key], *audit[key]] for key in ("images", "annotations")}}
    changed = changed_since(snapshot, settings, project)
    suspects = [suspect for suspect in likely_errors(truth, all_detections) if suspect.image not in changed]
    suspects = [*_disagreements(project), *suspects]
    write_bytes(experiment.own_folder / ERRORS, errors_csv(suspects, project))
    return Check(experiment, read_json(experiment.own_folder / SCORES), suspects, len(changed))


def _disagreements(project: Project) -> list[Suspect]:
    """Return the pictures that people have labelled differently: one of them must be wrong."""
    suspects = []
    for image, state in sorted(project.images.items()):
        if disagreeing(state, project):
            people = sorted(label.by for label in state.labels.values() if label.by and label.state in CONFIRMED)
            reason = f"labelled differently by {', '.join(people)}"
            suspects.append(Suspect(image, "people", None, None, 1.0, reason))
    return suspects


def errors_csv(suspects: Sequence[Suspect], project: Project) -> bytes:
    """Return a table of likely errors, the surest first, which spreadsheets open: UTF-8 with a mark at its start."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for suspect in suspects:
        label = "" if suspect.label is None else project.classes.get(project.class_today(suspect.label), "")
        sides = [f"{side:.2f}" for side in suspect.box or ()] or [""] * 4
        file_and_image = project.files[suspect.image], suspect.image
        writer.writerow([*file_and_image, suspect.kind, label, *sides, f"{suspect.sure:.3f}", suspect.reason])
    return text.getvalue().encode("utf-8-sig")
