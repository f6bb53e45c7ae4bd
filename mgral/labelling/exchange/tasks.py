"""Tasks with proposed boxes, as files that labelling tools load; without boxes that they would not show."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import yaml

from mgral.artefacts.files import atomic_path, write_json
from mgral.data.findings import Finding
from mgral.data.formats.write_voc import write_voc
from mgral.data.formats.write_yolo import write_yolo
from mgral.labelling.exchange.cvat import AUTOMATIC
from mgral.labelling.exchange.export import BAD_NAME, LabelledPicture, as_coco, cut_to, find_faults, refuse_filled
from mgral.labelling.exchange.label_studio_tasks import label_config, label_studio_tasks
from mgral.labelling.exchange.read import FormatName
from mgral.labelling.records import Batch, FoundBox, Task

BAD_SCORE = Finding("scores of boxes are not between 0 and 1", "do not use the detector that found them")
LEAST_SHOWN_SIDE = 0.05
"""Pixels of a box's sides at least: thinner ones would have no area in CVAT's two decimals."""


def write_tasks(batch: Batch, folder: Path, format: FormatName, *, prefix: str) -> None:
    """Write the tasks of a batch into a folder, which appears completely or not at all.

    label_studio: label_studio.json, best first, and label_config.xml. cvat: annotations.xml (for images 1.1). coco:
    instances.json. yolo: data.yaml, train.txt (the pictures, best first) and labels/train. voc: Annotations,
    ImageSets/Main/trainval.txt and labels.txt.

    Parameters
    ----------
    prefix
        Text before the names of pictures in tasks for Label Studio, such as `/data/local-files/?d=round3/`. The other
        tools find pictures by their names.

    Raises
    ------
    InputError
        Where a box has an unknown class, is not finite or lies beyond its picture, or two pictures share a name,
        naming them; or the folder contains something.
    StepError
        Where the folder cannot be written.
    """
    refuse_filled(folder)
    check_tasks(batch, format)
    tasks = [_with_cut_boxes(task) for task in sorted(batch.tasks, key=lambda task: task.rank)]
    with atomic_path(folder) as partial:
        partial.mkdir()
        if format == "label_studio":
            write_json(partial / "label_studio.json", label_studio_tasks(batch, tasks, prefix))
            (partial / "label_config.xml").write_text(label_config(batch.classes), encoding="utf-8")
        else:
            _WRITERS[format](partial, batch, [_picture(task) for task in tasks])


def check_tasks(batch: Batch, format: FormatName) -> None:
    """Raise InputError where tasks of a batch cannot be written in a format, naming all faults."""
    checked_format = None if format == "label_studio" or format == "cvat" else format
    findings = find_faults([_picture(task) for task in batch.tasks], batch.classes, checked_format)
    for text in (batch.project, batch.title):
        if not text.isprintable():
            findings.fault(BAD_NAME, f"project {text!r}")
    for task in batch.tasks:
        for found_box in task.boxes:
            if not 0 <= found_box.score <= 1:
                findings.fault(BAD_SCORE, f"{task.name}: {found_box.box.label}, {found_box.score}")
    findings.raise_faults("the batch", "")


def _with_cut_boxes(task: Task) -> Task:
    """Return a checked task with its boxes cut to the picture, without those that are too thin to be seen."""
    boxes = ((cut_to(box, task.width, task.height), score) for box, score in task.boxes)
    shown = (FoundBox(box, score) for box, score in boxes if box and min(box.width, box.height) >= LEAST_SHOWN_SIDE)
    return replace(task, boxes=tuple(shown))


def _picture(task: Task) -> LabelledPicture:
    boxes = tuple(found_box.box for found_box in task.boxes)
    return LabelledPicture(task.image, task.path, task.name, task.width, task.height, boxes)


def _write_cvat(folder: Path, batch: Batch, pictures: Sequence[LabelledPicture]) -> None:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    meta = ElementTree.SubElement(root, "meta")
    mgral_element = ElementTree.SubElement(meta, "mgral")
    ElementTree.SubElement(mgral_element, "project").text = batch.project
    ElementTree.SubElement(mgral_element, "round").text = str(batch.round)
    task = ElementTree.SubElement(meta, "task")
    ElementTree.SubElement(task, "name").text = f"{batch.title}, round {batch.round}"
    labels = ElementTree.SubElement(task, "labels")
    for name in batch.classes:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for number, picture in enumerate(pictures):
        size = {"width": str(picture.width), "height": str(picture.height)}
        image = ElementTree.SubElement(
            root, "image", {"id": str(number), "name": picture.name, **size, "mgral_id": str(picture.id)}
        )
        for box in picture.boxes:
            corners = (box.x, box.y, box.x + box.width, box.y + box.height)
            sides = {key: f"{value:.2f}" for key, value in zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)}
            values = {"label": box.label, "source": AUTOMATIC, "occluded": "0", **sides, "z_order": "0"}
            ElementTree.SubElement(image, "box", values)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(folder / "annotations.xml", encoding="utf-8", xml_declaration=True)


def _write_coco(folder: Path, batch: Batch, pictures: Sequence[LabelledPicture]) -> None:
    coco = as_coco(pictures, batch.classes)
    info = {
        "description": f"{batch.title}, round {batch.round}: boxes that a detector found, to be corrected",
        "mgral_project": batch.project,
        "mgral_round": batch.round,
    }
    content = {
        "info": info,
        "images": [{**image, "mgral_id": image["id"]} for image in coco["images"]],
        # CVAT takes only boxes that have one.
        "annotations": [{**annotation, "segmentation": []} for annotation in coco["annotations"]],
        "categories": [{**category, "supercategory": ""} for category in coco["categories"]],
    }
    write_json(folder / "instances.json", content)


def _write_yolo(folder: Path, batch: Batch, pictures: Sequence[LabelledPicture]) -> None:
    write_yolo(folder, {"train": as_coco(pictures, batch.classes)}, listed=True)
    with (folder / "data.yaml").open("a", encoding="utf-8") as file:
        file.write(yaml.safe_dump({"mgral": {"project": batch.project, "round": batch.round}}))


def _write_voc(folder: Path, batch: Batch, pictures: Sequence[LabelledPicture]) -> None:
    # The last pixel of a picture is number `width`: strict tools call what lies behind it beyond the picture.
    cut_pictures = [
        replace(
            picture,
            boxes=tuple(filter(None, (cut_to(box, picture.width - 1, picture.height - 1) for box in picture.boxes))),
        )
        for picture in pictures
    ]
    write_voc(folder, {"train": as_coco(cut_pictures, batch.classes)})


_WRITERS: dict[FormatName, Callable[[Path, Batch, Sequence[LabelledPicture]], None]] = {
    "cvat": _write_cvat,
    "coco": _write_coco,
    "yolo": _write_yolo,
    "voc": _write_voc,
}
