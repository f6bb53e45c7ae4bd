"""The batch of a round: from what the round computed to tasks for people."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import TIED, read_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, images_in, load_config, registry
from mgral.data.paths import is_file
from mgral.errors import InputError, number_of, program
from mgral.labelling.batch_files import unique_names
from mgral.labelling.opening import COLD, CONFIG, round_folder
from mgral.labelling.records import Batch, Box, FoundBox, Task
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project

AUDIT, AGAIN = "audit", "again"
SAME_SCORE = "drawn at random among pictures of the same score"
Row = tuple[int, float | None, str]
"""Number, score and reason of an image."""


def results_folder(folder: Path, number: int) -> Path:
    """Return the folder of the results of a round's experiment."""
    return folder / "results" / f"round{number}"


def detector_folder(folder: Path, number: int) -> Path:
    """Return the folder of a round's detector; a round without training labels has no detector in it."""
    return results_folder(folder, number) / f"seed{number}" / "initial" / "cycle0"


def round_batch(
    folder: Path,
    settings: ProjectSettings,
    project: Project,
    number: int,
    boxes: Mapping[int, Sequence[FoundBox]],
) -> tuple[Batch, list[str]]:
    """Return the tasks of a round and notes on how they were chosen: the audit set first, then what was selected.

    Images that were labelled or withdrawn since the round was opened are left out.

    Parameters
    ----------
    boxes
        Boxes to propose, by image. The audit set gets none, because proposed boxes could influence its labels.
    """
    config = load_config(round_folder(folder, number) / CONFIG)
    strategy_name = next(iter(config.strategies))
    selection = read_json(
        results_folder(folder, number) / f"seed{number}" / "strategies" / strategy_name / "cycle0" / "selection.json"
    )
    untouched = {image for image, state in project.images.items() if state.state == "untouched"}
    audit = sorted(image for image in untouched if project.images[image].role == "audit")
    chosen = [
        (image, score)
        for image, score in zip(selection["images"], selection["scores"], strict=True)
        if image in untouched
    ]
    controls = [image for image in selection.get("controls", ()) if image in untouched]
    reason = _task_reason(config, strategy_name, selection)
    rows: list[Row] = [(image, None, "drawn at random for the audit set") for image in audit]
    tied = set(selection["images"][len(selection["images"]) - selection.get(TIED, 0) :])
    strategy_rows: list[Row] = [(image, score, SAME_SCORE if image in tied else reason) for image, score in chosen]
    only_controls = [image for image in controls if image not in dict(chosen)]
    control_rows: list[Row] = [(image, None, reason) for image in only_controls]
    rows += mixed(strategy_rows, control_rows, derive_seed(number, "controls", "order"))
    notes = [_batch_note(config, strategy_name, selection)]
    if tied:
        notes.append(f"{number_of(len(tied), 'of them was', 'of them were')} {SAME_SCORE}")
    if controls:
        notes.append(
            f"{number_of(len(controls), 'was', 'were')} drawn at random, as a control, among the others"
            + (f"; {chosen_too} of them chosen too" if (chosen_too := len(controls) - len(only_controls)) else "")
        )
    elif settings.control and images_in(config.budget) == 1:
        notes.append("no control was drawn beside it, as a batch of 1 has no place for one (`batch` in project.yaml)")
    if left_out := len(selection["images"]) - len(chosen):
        notes.append(
            f"{number_of(left_out, 'chosen picture was', 'chosen pictures were')} labelled or withdrawn meanwhile"
        )
    tasks = [
        replace(task, chosen=task.image not in only_controls, control=task.image in controls)
        for task in _tasks(folder, settings, project, rows, boxes, dict.fromkeys(audit, (AUDIT,)))
    ]
    return _batch(settings, project, number, tasks), notes


def mixed(ordered: Sequence[Row], inserted: Sequence[Row], seed: int) -> list[Row]:
    """Return ordered rows with others, `inserted`, at uniformly random places; each keeps its own order."""
    count = len(ordered) + len(inserted)
    rng = np.random.default_rng(seed)
    positions = set(rng.choice(count, len(inserted), replace=False).tolist()) if inserted else set()
    ordered_rows, other_rows = iter(ordered), iter(inserted)
    return [next(other_rows) if position in positions else next(ordered_rows) for position in range(count)]


def again_batch(
    folder: Path, settings: ProjectSettings, project: Project, missing_by_image: Mapping[int, frozenset[int]]
) -> Batch:
    """Return tasks for images that must be checked again, with the boxes that they have.

    Parameters
    ----------
    missing_by_image
        By number of the image, the classes that it was not looked through for.
    """
    rows: list[Row] = []
    for image, missing in sorted(missing_by_image.items()):
        names = ", ".join(project.classes[class_id] for class_id in sorted(missing))
        rows.append((image, None, f"look for {names}; the other boxes were confirmed before"))
    return second_look(folder, settings, project, rows)


def second_look(folder: Path, settings: ProjectSettings, project: Project, rows: Sequence[Row]) -> Batch:
    """Return tasks for labelled images, with the boxes that they have.

    Parameters
    ----------
    rows
        Number, score and reason of each image, in the order of the tasks.
    """
    images = [image for image, *_ in rows]
    boxes = {image: labelled_boxes(project, image) for image in images}
    tasks = _tasks(folder, settings, project, rows, boxes, dict.fromkeys(images, (AGAIN,)))
    return _batch(settings, project, 0, tasks)


def labelled_boxes(project: Project, image: int) -> list[FoundBox]:
    """Return the boxes of a labelled image with the score 1; boxes of a class that was split are left out."""
    label = project.images[image].confirmed
    assert label is not None
    return [
        FoundBox(Box(x, y, w, h, project.classes[class_id]), 1.0)
        for x, y, w, h, class_id in project.final_boxes(label)
        if class_id in project.classes
    ]


def _batch(settings: ProjectSettings, project: Project, number: int, tasks: Sequence[Task]) -> Batch:
    return Batch(project.id, settings.project, number, tuple(project.classes.values()), tuple(tasks))


def _tasks(
    folder: Path,
    settings: ProjectSettings,
    project: Project,
    rows: Sequence[Row],
    boxes: Mapping[int, Sequence[FoundBox]],
    groups: Mapping[int, tuple[str, ...]],
) -> list[Task]:
    paths = [picture_path(folder, settings, project.files[image]) for image, *_ in rows]
    names = _own_names(project, [image for image, *_ in rows], unique_names(paths))
    return [
        Task(
            image=image,
            rank=rank,
            path=path,
            name=name,
            width=project.pictures[image].width,
            height=project.pictures[image].height,
            score=score,
            reason=reason,
            boxes=() if AUDIT in groups.get(image, ()) else tuple(boxes.get(image, ())),
            groups=groups.get(image, ()),
        )
        for rank, ((image, score, reason), path, name) in enumerate(zip(rows, paths, names, strict=True), start=1)
    ]


def _own_names(project: Project, images: Sequence[int], names: Sequence[str]) -> list[str]:
    """Return the names, changed where another image was sent under one of them: so a name means one image only."""
    image_by_stem = {
        Path(name).stem.casefold(): image for image, state in project.images.items() for name in state.names
    }
    used = {Path(name).stem.casefold() for name in names}
    task_names = []
    for image, name in zip(images, names, strict=True):
        path = Path(name)
        stem = path.stem
        while image_by_stem.get(stem.casefold(), image) != image or (stem != path.stem and stem.casefold() in used):
            stem += f"_{image}"
        used.add(stem.casefold())
        task_names.append(stem + path.suffix)
    return task_names


def missing_pictures(folder: Path, settings: ProjectSettings, project: Project) -> frozenset[int]:
    """Return the numbers of pictures that are not on disk, or that were renamed since the last scan."""
    folders = {*settings.pictures, *settings.test_pictures}
    return frozenset(
        image
        for image, file in project.files.items()
        if file.partition("/")[0] not in folders or not is_file(picture_path(folder, settings, file))
    )


def picture_path(folder: Path, settings: ProjectSettings, file: str) -> Path:
    """Return where a picture is on this machine, given its name in the project.

    Raises InputError where its folder is none of the project any more.
    """
    name, _, path_in_folder = file.partition("/")
    folders = {**settings.pictures, **settings.test_pictures}
    if name not in folders:
        raise InputError(
            f"project.yaml names no folder of pictures {name!r}, where {file} was; name it so again, or look for "
            f"the pictures elsewhere ({program()} project scan), or take those of this folder out of the project: "
            f"{program()} project withdraw PICTURES"
        )
    return folder / folders[name] / path_in_folder


def _task_reason(config: Config, name: str, selection: Mapping[str, Any]) -> str:
    """Return why the strategy of this name chose a picture, for each task."""
    if selection.get("reason"):
        return "drawn at random"
    if name == COLD:
        return "typical of pictures that have no label yet"
    if note := selection.get("note"):
        return str(note)
    return registry.strategy(config.strategies[name].type).summary


def _batch_note(config: Config, name: str, selection: Mapping[str, Any]) -> str:
    """Return how the strategy of this name chose, as a note on the batch."""
    if selection.get("reason"):
        return f"drawn at random: {selection['reason']}"
    info = registry.strategy(config.strategies[name].type)
    return f"chosen by {info.name}: {selection.get('note') or info.summary}"
