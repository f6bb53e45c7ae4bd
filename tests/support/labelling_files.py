"""Files of labelling tools for tests: written, read, and what was noted."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from mgral.labelling.exchange.read import read_labels
from mgral.labelling.records import Batch, Box, FoundBox, ReturnedFile, Task

SIZE = (640, 480)
LEVEL = {"original_width": 640, "original_height": 480, "image_rotation": 0}


def read(path: Path, **options: Any) -> ReturnedFile:
    """Read labels of pictures of 640 x 480 pixels."""
    return read_labels(path, lambda _: SIZE, **options)


def read_text(folder: Path, name: str, text: str, **options: Any) -> ReturnedFile:
    """Write one file, and read it."""
    (folder / name).write_text(text, encoding="utf-8")
    return read(folder / name, **options)


def faults(found: ReturnedFile) -> dict[str, int]:
    """Return the number of faults by their titles."""
    return {kind.title: len(places) for kind, places in found.findings.faults.items()}


def repairs(found: ReturnedFile) -> dict[str, int]:
    """Return the number of repairs by their titles."""
    return {kind.title: len(places) for kind, places in found.findings.repairs.items()}


def states(found: ReturnedFile) -> dict[str, str]:
    """Return the state of each picture."""
    return {one.file: one.state for one in found.labels}


def boxes(found: ReturnedFile, digits: int = 6) -> list[tuple[Any, ...]]:
    """Return the boxes of all pictures, rounded."""
    return [(*(round(value, digits) for value in box[:4]), box.label) for one in found.labels for box in one.boxes]


def region(value: dict[str, Any], kind: str = "rectanglelabels", **more: Any) -> dict[str, Any]:
    """Return a region of Label Studio's; classes are `car` unless the value has others."""
    return {"type": kind, **LEVEL, "value": {kind: ["car"], **value}, **more}


def annotation(*regions: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an annotation of Label Studio's."""
    return {"completed_by": 1, "updated_at": "2026-11-28T10:00:00.5Z", "result": [*regions], **more}


def read_tasks(folder: Path, *tasks: dict[str, Any], **options: Any) -> ReturnedFile:
    """Read an export of Label Studio's; a task without data is of a.jpg."""
    whole = [{"data": {"image": "/data/local-files/?d=imgs/a.jpg"}} | task for task in tasks]
    return read_text(folder, "export.json", json.dumps(whole), **options)


def task(image: int, found: Iterable[FoundBox] = (), **more: Any) -> Task:
    """Return a task; its picture has 640 x 480 pixels."""
    name = f"p{image}.jpg"
    usual = {"rank": image, "path": Path("pictures") / name, "name": name, "width": SIZE[0], "height": SIZE[1]}
    return Task(image=image, **usual | {"score": 0.5, "reason": "unsure", "boxes": tuple(found)} | more)


def batch(*tasks: Task) -> Batch:
    """Return a batch of the classes `car` and `big truck`."""
    return Batch("project-id", "cars & trucks", 2, ("car", "big truck"), tasks)


def found_box(x: float, y: float, width: float, height: float, label: str = "car", score: float = 0.8) -> FoundBox:
    """Return what a detector found."""
    return FoundBox(Box(x, y, width, height, label), score)


def drawn(folder: Path, *tasks: Task) -> Batch:
    """Return a batch of pictures that are there, each of one colour: red of ten times its number."""
    found = []
    for one in tasks:
        path = folder / one.name
        Image.new("RGB", (one.width, one.height), (10 * one.image % 256, 0, 0)).save(path)
        found.append(replace(one, path=path))
    return batch(*found)
