"""Tasks for Label Studio, and its labelling configuration."""

import colorsys
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from mgral.labelling.exchange.label_studio import SERVED
from mgral.labelling.records import Batch, Task

MODEL = "mgral"
"""Name of the predictions: a project shows those of one name only, and so all rounds share it."""

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio names pictures below its document root."""


def label_studio_tasks(batch: Batch, tasks: Sequence[Task], prefix: str) -> list[dict[str, Any]]:
    """Return the tasks in their order, with what a detector found as predictions, which are no labels.

    Their boxes lie within the pictures.
    """
    return [_task(batch, task, prefix) for task in tasks]


def _task(batch: Batch, task: Task, prefix: str) -> dict[str, Any]:
    # In an address that a browser asks for, characters such as # and % would end the name.
    name = quote(task.name) if prefix.startswith(SERVED) else task.name
    data = {
        "image": prefix + name,
        "mgral_id": task.image,
        "mgral_rank": task.rank,
        "mgral_project": batch.project,
        "mgral_round": batch.round,
        "mgral_reason": task.reason,
    }
    if task.groups:
        data["mgral_groups"] = ", ".join(task.groups)
    result = []
    for number, (box, score) in enumerate(task.boxes):
        left, right = (100 * side / task.width for side in (box.x, box.x + box.width))
        top, bottom = (100 * side / task.height for side in (box.y, box.y + box.height))
        value = {
            # Differences, as x and width that are rounded by themselves may add up to more than 100.
            "x": left,
            "y": top,
            "width": right - left,
            "height": bottom - top,
            "rotation": 0,
            "rectanglelabels": [box.label],
        }
        result.append(
            {
                "id": f"b{number}",
                "type": "rectanglelabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": task.width,
                "original_height": task.height,
                "image_rotation": 0,
                "score": score,
                "value": value,
            }
        )
    if not result:
        return {"data": data}
    # No score: the strategy's has a scale of its own, and people would see 7000 %.
    return {"data": data, "predictions": [{"model_version": MODEL, "result": result}]}


def label_config(classes: Sequence[str]) -> str:
    """Return the labelling configuration of boxes of the given classes, XML."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": "image", "value": "$image", "zoom": "true"})
    labels = ElementTree.SubElement(view, "RectangleLabels", {"name": "label", "toName": "image"})
    for index, name in enumerate(classes):
        red, green, blue = colorsys.hsv_to_rgb(index * 0.618 % 1, 0.75, 0.85)  # far apart, for any number of classes
        colour = f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
        ElementTree.SubElement(labels, "Label", {"value": name, "background": colour})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"
