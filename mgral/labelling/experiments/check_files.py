"""What a check has found, for people: lines, a page, and tasks for another look."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mgral.artefacts.files import write_bytes
from mgral.errors import number_of, program
from mgral.evaluation.label_errors import ErrorKind, Suspect
from mgral.labelling.batch_files import SHEET
from mgral.labelling.batches import second_look
from mgral.labelling.experiments.checks import ERRORS, Check
from mgral.labelling.experiments.comparing import has_test_set, in_percent, refuse_damaged, score_words
from mgral.labelling.ledger import writing
from mgral.labelling.records import Batch, Box, FoundBox
from mgral.labelling.results import LEAST_BOXES, ClassResult, result_lines
from mgral.labelling.running import BatchOptions, write_second_look
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.sheet import contact_sheet, thumbnails
from mgral.labelling.state import Project, load_project

WORDS: dict[ErrorKind, str] = {
    "people": "pictures that two people labelled differently",
    "missing": "objects without a label",
    "class": "labels of another class",
    "place": "boxes that fit badly",
    "not found": "labels where nothing is found",
}
NAMED = 5
"""Likely errors that are told on the terminal."""
REASONS = 3
"""Most reasons of a picture that its task states."""
SUSPECT = "look here"
"""Class name, on the page, of the boxes that mark where something may be wrong."""
NOTE = "Likely errors of labels: the reason of each picture says what to look at. Leave what is right."
CHOSEN = "  these pictures were chosen, and are no random sample: on new pictures the score may be another"


def check_lines(check: Check) -> list[str]:
    """Return what a check has found as lines: scores, classes, and the surest of the likely errors."""
    scores, project = check.scores, load_project(check.experiment.folder)
    with refuse_damaged(check.experiment):
        lines = _score_lines(scores, project)
    if check.changed:
        lines.append(
            f"labels of {number_of(check.changed, 'picture')} have changed since it was opened: they are left out"
        )
    if not check.suspects:
        return [*lines, "no label is likely to be wrong"]
    counts = Counter(suspect.kind for suspect in check.suspects)
    lines.append(f"likely errors, in {number_of(len({suspect.image for suspect in check.suspects}), 'picture')}:")
    lines += [f"  {counts[kind]:>5}  {words}" for kind, words in WORDS.items() if counts[kind]]
    lines += [f"  {project.files[suspect.image]}: {suspect.reason}" for suspect in check.suspects[:NAMED]]
    folder = check.experiment.own_folder
    return [
        *lines,
        f"  view them: {folder / SHEET}; all of them: {folder / ERRORS}",
        f"  let people check them, in a new folder: {program()} project check --last --output again",
    ]


def _score_lines(scores: Mapping[str, Any], project: Project) -> list[str]:
    held_out, folds = scores["held_out"], scores["folds"]
    lines = [f"{scores['name']}: {folds} detectors, each trained without the labels of one part in {folds}"]
    if scores["audit"]:
        where = "test set" if has_test_set(project) else "audit set, which is a random sample"
        lines.append(f"on the {where}: {score_words(scores['audit'])}")
    lines.append(
        f"on {number_of(held_out['images'], 'labelled picture')}, each by the detector without it: "
        f"{score_words(held_out)}"
    )
    return [
        *lines,
        CHOSEN,
        *(f"  {line}" for line in result_lines([*map(_class_result, held_out["per_class"])])),
    ]


def _class_result(class_scores: Mapping[str, Any]) -> ClassResult:
    """Return the score of a class, given an entry of `per_class` in scores.json."""
    name, boxes, mean = class_scores["name"], class_scores["boxes"], class_scores["map"]
    if boxes < LEAST_BOXES or mean is None:
        return ClassResult(name, boxes, None, f"too few boxes ({boxes} of {LEAST_BOXES})")
    return ClassResult(name, boxes, mean["score"], in_percent(mean, unit=""))


def by_picture(suspects: Iterable[Suspect], max_pictures: int) -> dict[int, list[Suspect]]:
    """Return the likely errors of at most `max_pictures` pictures, by picture, that with the surest error first."""
    suspects_by_image: defaultdict[int, list[Suspect]] = defaultdict(list)
    for suspect in suspects:
        if suspect.image in suspects_by_image or len(suspects_by_image) < max_pictures:
            suspects_by_image[suspect.image].append(suspect)
    return dict(suspects_by_image)


def write_page(check: Check, max_pictures: int) -> None:
    """Draw the pictures of the surest likely errors, with their labels and what may be wrong, beside the list."""
    settings, project = load_project_settings(check.experiment.folder), load_project(check.experiment.folder)
    suspects_by_image = by_picture(check.suspects, max_pictures)
    batch = _batch(check.experiment.folder, settings, project, suspects_by_image)
    tasks = [
        replace(
            task,
            boxes=(
                *task.boxes,
                *(
                    FoundBox(Box(*suspect.box, SUSPECT), suspect.sure)
                    for suspect in suspects_by_image[task.image]
                    if suspect.box
                ),
            ),
        )
        for task in batch.tasks
    ]
    drawn = replace(batch, classes=(*batch.classes, SUSPECT), tasks=tuple(tasks))
    page = contact_sheet(drawn, [NOTE], thumbnails(drawn.tasks, settings.decoding))
    write_bytes(check.experiment.own_folder / SHEET, page.encode())


def write_tasks(check: Check, output: Path, max_pictures: int, options: BatchOptions) -> int:
    """Write the pictures of the surest likely errors as tasks, with their labels as boxes, and return how many.

    They are noted as sent. What comes back replaces a label as any correction does.
    """
    folder = check.experiment.folder
    with writing(folder) as writer:
        settings, project = load_project_settings(folder), load_project(folder)
        suspects_by_image = by_picture(check.suspects, max_pictures)
        if suspects_by_image:
            batch = _batch(folder, settings, project, suspects_by_image)
            writer.add("sent", write_second_look(folder, settings, project, batch, output, options, [NOTE]))
    return len(suspects_by_image)


def _batch(
    folder: Path, settings: ProjectSettings, project: Project, suspects_by_image: Mapping[int, Sequence[Suspect]]
) -> Batch:
    """Return tasks for pictures with likely errors, whose reasons say what may be wrong."""
    rows: list[tuple[int, float | None, str]] = []
    for image, suspects in suspects_by_image.items():
        suffix = f"; and {len(suspects) - REASONS} more" if len(suspects) > REASONS else ""
        rows.append(
            (
                image,
                suspects[0].sure,
                "; ".join(dict.fromkeys(suspect.reason for suspect in suspects[:REASONS])) + suffix,
            )
        )
    return second_look(folder, settings, project, rows)
