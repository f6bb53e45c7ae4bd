"""The results of an experiment whose detectors have random weights, for the tests of what uses them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mgral.artefacts.files import write_json
from mgral.config import resolve_config
from mgral.models.build import random_detector, save_detector


def write_results(
    folder: Path, detector: dict[str, Any], classes: Sequence[str], rounds: Sequence[str] = ("initial/cycle0",)
) -> None:
    """Write configuration, a test image with one box, and the detectors of some rounds; classes are from 1."""
    settings = {"detector": detector}
    config = resolve_config(settings)
    write_json(folder / "config.yaml", settings)
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 80}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
    }
    write_json(folder / "dataset" / "test.json", truth)
    for place in rounds:
        save_detector(
            random_detector(config.detector, len(classes), seed=0),
            folder / "seed0" / place / "detector.safetensors",
        )
