"""The labelled set of a project, for others to train on."""

from pathlib import Path
from typing import Any

from mgral.data.convert import FormatName
from mgral.errors import InputError, number_of, program
from mgral.labelling.batch_files import check_pictures, unique_names
from mgral.labelling.batches import picture_path
from mgral.labelling.exchange.export import LabelledPicture, export_labels, refuse_filled
from mgral.labelling.opening import usable_label
from mgral.labelling.records import CONFIRMED, Box
from mgral.labelling.settings import ProjectSettings, load_project_settings
from mgral.labelling.state import Project, load_project
from mgral.labelling.status import IMPORT


def export_project(folder: Path, output: Path, label_format: FormatName, pictures: Any) -> list[str]:
    """Write the labelled pictures of the project in a folder, and return lines that say what was written.

    Raises
    ------
    InputError
        Where nothing is labelled, `output` is there, or pictures are missing.
    StepError
        Where it cannot be written.
    """
    settings, project = load_project_settings(folder), load_project(folder)
    boxes_by_image = _labelled(settings, project)
    left_out = sum(
        state.state in CONFIRMED and image not in boxes_by_image for image, state in project.images.items()
    )
    if not boxes_by_image and left_out:
        raise InputError(
            f"no labelled picture can be exported: people disagree on {left_out}, or they must be checked again; "
            f"see {program()} project status"
        )
    if not boxes_by_image:
        raise InputError(f"no picture is labelled yet; import labels first: {program()} project {IMPORT}")
    paths = [picture_path(folder, settings, project.files[image]) for image in boxes_by_image]
    refuse_filled(output)
    if pictures != "none":
        check_pictures(paths, "the labelled set")
    train: list[LabelledPicture] = []
    audit: list[LabelledPicture] = []
    for (image, image_boxes), path, name in zip(boxes_by_image.items(), paths, unique_names(paths), strict=True):
        size = {"width": project.pictures[image].width, "height": project.pictures[image].height}
        subset = audit if project.images[image].role else train
        subset.append(LabelledPicture(id=image, path=path, name=name, boxes=image_boxes, **size))
    classes = [name for _, name in sorted(project.classes.items())]
    lost = export_labels(label_format, output, train, classes, audit=audit, pictures=pictures)
    lines = [f"{output}: {number_of(len(train), 'picture')} to train on, {len(audit)} of the audit or test set"]
    lines += [f"  {count} {statement}" for statement, count in lost.items()]
    if left_out:
        lines.append(
            f"  {number_of(left_out, 'labelled picture is', 'labelled pictures are')} left out: people "
            "disagree, or they lack a class"
        )
    return lines


def _labelled(settings: ProjectSettings, project: Project) -> dict[int, tuple[Box, ...]]:
    """Return the boxes of each image whose label is complete and undisputed, by its number."""
    boxes_by_image = {}
    for image, state in sorted(project.images.items()):
        label = usable_label(project, state, settings.conflicts)
        if label is not None and not project.incomplete(label):
            rows = project.final_boxes(label)
            boxes_by_image[image] = tuple(Box(x, y, w, h, project.classes[class_id]) for x, y, w, h, class_id in rows)
    return boxes_by_image
