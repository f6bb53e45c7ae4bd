"""Runs a round: opens it, starts Snakemake, and writes its batch."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mgral.artefacts.files import read_json
from mgral.config import load_config
from mgral.data.findings import Findings
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import load_snapshot
from mgral.data.groups import load_groups
from mgral.engine.run import run_snakemake
from mgral.errors import InputError, number_of, program
from mgral.evaluation.precision import trusted_score
from mgral.labelling.batch_files import SHEET, TASKS, write_batch
from mgral.labelling.batches import AUDIT, again_batch, detector_folder, results_folder, round_batch
from mgral.labelling.exchange.label_studio_tasks import LOCAL_FILES
from mgral.labelling.exchange.read import FormatName
from mgral.labelling.ledger import writing
from mgral.labelling.opening import CONFIG, SNAPSHOT, round_folder
from mgral.labelling.prelabels import proposed_boxes
from mgral.labelling.records import Batch, FoundBox
from mgral.labelling.results import LEAST_BOXES, ClassResult, class_results, result_lines
from mgral.labelling.rounds import end_training, open_round, publish_round
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project
from mgral.labelling.status import IMPORT, images_to_check, ways_back

MEANS = {"ap50": "AP50", "map": "mAP"}
"""Scores of all classes, and how people know them."""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is written."""

    formats: Sequence[FormatName]
    people: int = 1
    shared: float = 0.0
    """Part of the pictures that two people get."""
    prefix: str | None = None
    """Text before the name of a picture in tasks for Label Studio; by default for local files, with the project's
    folder as document root."""


def run_round(
    folder: Path,
    options: BatchOptions,
    *,
    cores: str | None = None,
    profile: Path | None = None,
    anyway: bool = False,
    snakemake_options: Sequence[str] = (),
) -> tuple[list[str], Findings]:
    """Open the next round, or go on with the one that is open, compute it, and write its batch.

    Parameters
    ----------
    cores, profile, snakemake_options
        See `run_snakemake`, which has the Snakemake options as `options`.
    anyway
        See `open_round`.

    Returns
    -------
    Lines that say what was written and what comes next, and what was odd about the pictures.

    Raises
    ------
    InputError, StepError
        As `open_round`, Snakemake and `publish_round` raise them; the same command goes on.
    """
    opened = open_round(folder, anyway)
    number = opened.number
    config = round_folder(folder, number).relative_to(folder) / CONFIG
    run_snakemake(
        folder, config, cores=cores or (None if profile else "all"), profile=profile, options=snakemake_options
    )
    notes: list[str] = []

    def publish(project: Project, settings: ProjectSettings, number: int, made: Path) -> list[dict[str, object]]:
        results = round_results(folder, number)
        batch, batch_notes = round_batch(folder, settings, project, number, _found_boxes(folder, project, number))
        notes.extend(batch_notes)
        prefix = _prefix(options, folder, round_folder(folder, number))
        return _written(settings, project, batch, made, options, prefix, batch_notes, results)

    publish_round(folder, number, publish)
    return _summary(folder, number, notes, options), opened.findings


def run_training(
    folder: Path, *, cores: str | None = None, profile: Path | None = None, snakemake_options: Sequence[str] = ()
) -> tuple[list[str], Findings]:
    """Train a detector on all that is labelled, as a round that chooses nothing; see `run_round`.

    Returns
    -------
    Lines that say where it is and how good, and what was odd about the pictures.
    """
    opened = open_round(folder, training=True)
    subfolder = round_folder(folder, opened.number).relative_to(folder)
    config, snapshot = load_config(folder / subfolder / CONFIG), load_snapshot(folder / subfolder / SNAPSHOT)
    weights_name = "detector.safetensors" if config.detector.command_gives is None else "external.safetensors"
    target = detector_folder(Path(), opened.number) / ("metrics.json" if complete(snapshot.audit) else weights_name)
    options = [str(target), *snakemake_options]
    run_snakemake(
        folder, subfolder / CONFIG, cores=cores or (None if profile else "all"), profile=profile, options=options
    )
    end_training(folder, opened.number)
    weights_path = detector_folder(folder, opened.number) / weights_name
    return [f"round {opened.number}: {weights_path}", *score_lines(folder, load_project(folder))], opened.findings


def write_again(folder: Path, output: Path, options: BatchOptions) -> int:
    """Write tasks for all images that must be checked again into a new folder, and return how many there are."""
    with writing(folder) as writer:
        settings, project = load_project_settings(folder), load_project(folder)
        to_check = images_to_check(project)
        if to_check:
            batch = again_batch(folder, settings, project, to_check)
            notes = ["Labelled before a class was there: look for it, and leave what is right."]
            writer.add("sent", write_second_look(folder, settings, project, batch, output, options, notes))
    return len(to_check)


def write_second_look(
    folder: Path,
    settings: ProjectSettings,
    project: Project,
    batch: Batch,
    output: Path,
    options: BatchOptions,
    notes: Sequence[str],
) -> list[dict[str, object]]:
    """Write tasks of labelled images into a new folder, and return what is sent, as the ledger has it."""
    return _written(settings, project, batch, output, options, _prefix(options, folder, output), notes, ())


def _prefix(options: BatchOptions, folder: Path, output: Path) -> Callable[[str], str]:
    """Return a function that gives the prefix of pictures, given their folder in the batch written to `output`."""
    if options.prefix is not None:
        prefix = options.prefix if options.prefix.endswith(("/", "=")) else f"{options.prefix}/"
        return lambda _: prefix
    relative_folder = Path(os.path.relpath(output, folder)).as_posix()
    return lambda subfolder: f"{LOCAL_FILES}{quote(f'{relative_folder}/{subfolder}')}/"


def _written(
    settings: ProjectSettings,
    project: Project,
    batch: Batch,
    output: Path,
    options: BatchOptions,
    prefix: Callable[[str], str],
    notes: Sequence[str],
    results: Sequence[ClassResult],
) -> list[dict[str, object]]:
    """Write the files of a batch, and return what is sent, as the ledger has it."""
    write_batch(
        batch,
        output,
        options.formats,
        notes,
        people=options.people,
        shared=options.shared,
        prefix=prefix,
        settings=settings.decoding,
        results=results,
    )
    ids = {name: class_id for class_id, name in project.classes.items()}
    has_controls = any(task.control for task in batch.tasks)
    return [
        {
            "image": task.image,
            "round": batch.round,
            "name": task.name,
            "boxes": [[box.x, box.y, box.width, box.height, ids[box.label]] for box, _ in task.boxes],
            **({"chosen": task.chosen, "control": task.control} if has_controls and not task.groups else {}),
        }
        for task in batch.tasks
    ]


def second_look_lines(folder: Path, output: Path, count: int) -> list[str]:
    """Return what a person does with the tasks of so many pictures to check again, as lines."""
    if not count:
        return ["no picture needs another check"]
    lines, pushed = (
        [f"{number_of(count, 'picture')} to check again: load {output / TASKS} into your tool"],
        load_project(folder).pushed,
    )
    if pushed:
        lines.append(f"  or send them: {program()} project push {shlex.quote(str(output))}")
    return [*lines, f"  when people have labelled: {program()} project {'pull' if pushed else IMPORT}"]


def _found_boxes(folder: Path, project: Project, number: int) -> dict[int, tuple[FoundBox, ...]]:
    """Return the boxes to propose in a round, none where there was no detector."""
    results = results_folder(folder, number)
    if not (results / "prelabels.json").exists():
        return {}
    truth, detections = results / "dataset" / "test.json", detector_folder(folder, number) / "detections.json"
    threshold = trusted_score(read_json(truth), read_json(detections) if detections.exists() else [])
    sizes = {image: (picture.width, picture.height) for image, picture in project.pictures.items()}
    return proposed_boxes(read_json(results / "prelabels.json"), project.classes, sizes, threshold)


def round_results(folder: Path, number: int) -> list[ClassResult]:
    """Return the scores of a round's detector on the audit set by class, none where it has no labels yet."""
    results = results_folder(folder, number)
    metrics = detector_folder(folder, number) / "metrics.json"
    if not metrics.exists():
        return []
    test: dict[str, Any] = read_json(results / "dataset" / "test.json")
    try:
        scores = read_json(metrics)
        numbers = [*(scores[key] for key in MEANS), *(row["map"] for row in scores["per_class"])]
        if not all(isinstance(score, float | int | None) for score in numbers):
            raise TypeError
        names = {category["id"]: category["name"] for category in test["categories"]}
        boxes = dict.fromkeys(names.values(), 0)
        for annotation in test["annotations"]:
            boxes[names[annotation["category_id"]]] += 1
        return class_results(scores, boxes)
    except (KeyError, TypeError):
        raise InputError(
            f"{metrics} or dataset/test.json of its round is damaged; bring it back, or delete it and make it again: "
            f"{program()} snakemake --cores all --configfile round{number}/{CONFIG}"
        ) from None


def score_lines(folder: Path, project: Project) -> list[str]:
    """Return the scores of the latest detector that was evaluated, as lines, with what makes them less sure."""
    for number in sorted(project.rounds, reverse=True):
        if rows := round_results(folder, number):
            metrics = read_json(detector_folder(folder, number) / "metrics.json")
            set_name = "test set" if any(image.role == "test" for image in project.images.values()) else "audit set"
            scores = [f"{name} {100 * metrics[key]:.1f} %" for key, name in MEANS.items() if metrics[key] is not None]
            score_text = ", ".join(scores) or "no score: no object is labelled there"
            lines = [f"detector of round {number}, on the {set_name}: {score_text}"]
            if few := sum(row.boxes < LEAST_BOXES for row in rows):
                lines.append(f"  rough means: {few} of {len(rows)} classes have fewer than {LEAST_BOXES} boxes there")
            groups_path = results_folder(folder, number) / "dataset" / "groups.json"  # a training has none
            copies = load_groups(groups_path) if groups_path.exists() else None
            if copies and copies.pairs:
                lines.append(
                    f"  {len(copies.pairs)} of its {copies.test_images} pictures are near-copies of others of the "
                    "project: on new scenes the detector may find less"
                )
            return lines + [f"  {line}" for line in result_lines(rows)]
    return []


def _summary(folder: Path, number: int, notes: Sequence[str], options: BatchOptions) -> list[str]:
    """Return lines that say what a round's batch has, where it is, and what comes next."""
    project, target = load_project(folder), round_folder(folder, number)
    audit = sum(project.images[image].role == AUDIT for image in project.sent[number])
    lines = [
        f"round {number}: {number_of(len(project.sent[number]), 'picture')} to label"
        + (f", {audit} of them the audit set" if audit else "")
    ]
    lines += [f"  {note}" for note in notes]
    lines += [f"  view them: {target / SHEET}", f"  load into your tool: {target / TASKS}"]
    if not project.sent[number]:
        return [*lines[:-2], f"  none of them is left; choose others: {program()} project next"]
    if options.people > 1:
        lines[-1] = f"  load into your tool: {target}/person1/{TASKS}, and so on"
    *send_commands, back_command = ways_back(project)
    lines += [f"  or send them: {command}" for command in send_commands]
    return [*lines, f"  when people have labelled: {back_command}"]
