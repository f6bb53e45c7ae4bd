"""Benchmark `data`: reading and checking a generated data set of the size of COCO."""

import json
import tempfile
from pathlib import Path
from time import process_time
from typing import Any

import click
import numpy as np

from benchmarks.machine import Measurements, machine, peak_memory, show
from mgral.artefacts.files import write_all_json
from mgral.config import CocoData
from mgral.data.read import read_splits

CLASSES = 80
BOXES = 14
"""Most in an image."""


@click.command("data")
@click.option("--train", type=click.IntRange(min=20), default=118287, help="Training images.")
@click.option("--test", type=click.IntRange(min=1), default=5000, help="Test images.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(train: int, test: int, as_json: bool) -> None:
    """Read, check and write COCO JSON of pictures of a few bytes: processor seconds, peak memory (MB)."""
    with tempfile.TemporaryDirectory() as folder:
        show(measure_data(Path(folder), train, test) | machine(), as_json)


def measure_data(root: Path, train: int, test: int) -> Measurements:
    """Time what the step `data` does; sizes are in the annotations, so no header of a picture is read."""
    rng = np.random.default_rng(0)
    boxes = {split: _write(root, split, images, rng) for split, images in (("train", train), ("test", test))}
    start = process_time()
    checked = read_splits(CocoData(format="coco", root=str(root)), root)
    write_all_json({root / "train.json": checked.train, root / "test.json": checked.test})
    seconds = process_time() - start
    return {
        "images": train + test,
        "boxes": sum(boxes.values()),
        "processor_seconds": seconds,
        "peak_memory_mb": peak_memory(),
    }


def _write(root: Path, split: str, images: int, rng: np.random.Generator) -> int:
    (root / split).mkdir()
    annotations: list[dict[str, Any]] = []
    for image in range(images):
        (root / split / f"{image}.jpg").write_text(f"{split} {image} {'x' * int(rng.integers(2000))}")
        for x, y, width, height in rng.uniform(1, (500, 400, 140, 80), (int(rng.integers(1, BOXES + 1)), 4)).round(2):
            number = len(annotations) + 1
            box = {"bbox": [x, y, width, height], "area": width * height, "iscrowd": 0}
            annotations.append({"id": number, "image_id": image, "category_id": number % CLASSES, **box})
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 640, "height": 480} for n in range(images)],
        "annotations": annotations,
        "categories": [{"id": number, "name": f"class {number}"} for number in range(CLASSES)],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return len(annotations)
