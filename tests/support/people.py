"""People who label: they answer the tasks of a batch with what is true, as Label Studio exports it."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

TrueBox = tuple[float, float, float, float, str]
"""x, y, width, height in pixels, and the class."""


def coco_truth(path: Path) -> tuple[dict[str, list[TrueBox]], dict[str, tuple[int, int]]]:
    """Return the boxes and the size of each picture of a COCO JSON, by the stem of its file."""
    coco = json.loads(path.read_text())
    names = {one["id"]: one["name"] for one in coco["categories"]}
    stems = {one["id"]: PurePosixPath(one["file_name"]).stem for one in coco["images"]}
    boxes: dict[str, list[TrueBox]] = {stem: [] for stem in stems.values()}
    for one in coco["annotations"]:
        boxes[stems[one["image_id"]]].append((*one["bbox"], names[one["category_id"]]))
    return boxes, {stems[one["id"]]: (one["width"], one["height"]) for one in coco["images"]}


def answer(
    tasks: Path,
    export: Path,
    truth: Mapping[str, Sequence[TrueBox]],
    sizes: Mapping[str, tuple[int, int]],
    *,
    later: int = 0,
    by: int = 1,
    state: Callable[[int], str] = lambda _: "done",
) -> None:
    """Write Label Studio's export of some tasks.

    Parameters
    ----------
    later
        Seconds from now at which they are labelled: later answers replace earlier ones.
    by
        Number of the person.
    state
        By the place of the task: done, skipped, draft or untouched.
    """
    content = json.loads(tasks.read_text())
    moment = (datetime.now(UTC) + timedelta(seconds=later)).isoformat()
    for place, task in enumerate(content):
        stem = PurePosixPath(task["data"]["image"]).stem
        regions = [_region(box, sizes[stem], number) for number, box in enumerate(truth[stem])]
        annotation = {"completed_by": by, "updated_at": moment, "lead_time": 7.5, "result": regions}
        task |= {"id": place + 1, "annotations": [], "drafts": [], "predictions": task.get("predictions", [])}
        match state(place):
            case "done":
                task["annotations"] = [annotation]
            case "skipped":
                task["annotations"] = [{**annotation, "was_cancelled": True, "result": []}]
            case "draft":
                task["drafts"] = [{"user": by, "updated_at": moment, "result": regions, "annotation": None}]
    export.write_text(json.dumps(content))


def _region(box: TrueBox, size: tuple[int, int], place: int) -> dict[str, Any]:
    x, y, width, height, label = box
    across, down = size
    value = {
        "x": 100 * x / across,
        "y": 100 * y / down,
        "width": 100 * width / across,
        "height": 100 * height / down,
        "rotation": 0,
        "rectanglelabels": [label],
    }
    return {
        "id": f"r{place}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": across,
        "original_height": down,
        "image_rotation": 0,
        "value": value,
    }
