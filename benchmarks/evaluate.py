"""Benchmark `evaluate`: the scores of detections by faster-coco-eval and by its reference, pycocotools."""

import contextlib
import io
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import click
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.machine import Measurements, machine, show
from mgral.evaluation.coco import score_detections
from mgral.evaluation.voc import add_voc_scores

SETS = {"voc": (4952, 20, 2.4), "coco": (5000, 80, 7.3)}
"""Images, classes and mean boxes an image of VOC 2007's test images and of COCO 2017's val images."""
DETECTIONS = 100
"""An image."""
WIDTH, HEIGHT = 500, 375
"""Of every image, in pixels: VOC's most common size."""


@click.command("evaluate")
@click.option("--images", type=click.IntRange(min=1), help="Images, in place of 4952 and 5000.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(images: int | None, as_json: bool) -> None:
    """Score 100 random detections an image, at the sizes of VOC's and COCO's test sets.

    Of both libraries the seconds, and the largest difference between any two scores; of VOC also the seconds of its
    own rules.
    """
    found: Measurements = {}
    for name, (usual, classes, boxes) in SETS.items():
        found |= {f"{name}_{key}": value for key, value in measure(images or usual, classes, boxes).items()}
    show(found | machine(), as_json)


def measure(images: int, classes: int, boxes: float) -> Measurements:
    """Time both libraries, and VOC's rules, on the same truth and detections."""
    truth, detections = random_detections(np.random.default_rng(0), images, classes, boxes, DETECTIONS)
    ids = range(1, images + 1)
    seconds = {}
    start = perf_counter()
    ours = score_detections(truth, detections, ids)
    seconds["faster_coco_eval_seconds"] = perf_counter() - start
    start = perf_counter()
    reference = score_detections(truth, detections, ids, run_pycocotools)
    seconds["pycocotools_seconds"] = perf_counter() - start
    start = perf_counter()
    add_voc_scores(ours, truth, detections)
    seconds["voc_rules_seconds"] = perf_counter() - start
    return {
        "images": images,
        "classes": classes,
        "detections": len(detections),
        **seconds,
        "largest_difference": largest_difference(ours, reference),
        "map": ours["map"],
    }


def run_pycocotools(truth: dict[str, Any], found: dict[str, Any]) -> COCOeval:
    """Evaluate detections by the library of COCO's authors, as `mgral.evaluation.coco.run_faster_coco_eval` does."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(truth), _coco(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _coco(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def largest_difference(ours: Any, theirs: Any) -> float:
    """Return the largest difference between two numbers in the same place; infinite where one has none there."""
    pairs = list(zip(_numbers(ours), _numbers(theirs), strict=True))
    if any((a is None) != (b is None) for a, b in pairs):
        return float("inf")
    return max(abs(a - b) for a, b in pairs if a is not None and b is not None)


def _numbers(value: Any) -> Iterator[float | None]:
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif not isinstance(value, str):
        yield value


def random_detections(
    rng: np.random.Generator, images: int, classes: int, boxes: float, detections: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw a data set as COCO JSON, and COCO results on it, of which half lie near a box.

    One box in 50 is a crowd. Half of the scores are rounded to two digits, so that many are equal.
    """
    counts = rng.poisson(boxes, images)
    total = int(counts.sum())
    image_of, category_of = np.repeat(np.arange(images), counts), rng.integers(classes, size=total)
    corners = _random_boxes(rng, total)
    truth = {
        "images": [{"id": image + 1, "width": WIDTH, "height": HEIGHT} for image in range(images)],
        "categories": [{"id": category + 1, "name": f"class {category}"} for category in range(classes)],
        "annotations": [
            {
                "id": index + 1,
                "image_id": int(image) + 1,
                "category_id": int(category) + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": int(crowd),
            }
            for index, (image, category, box, crowd) in enumerate(
                zip(image_of, category_of, corners.tolist(), rng.random(total) < 0.02, strict=True)
            )
        ],
    }
    places = np.repeat(np.arange(images), detections)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    near = (counts[places] > 0) & (rng.random(len(places)) < 0.5)
    source = first[places] + (rng.random(len(places)) * counts[places]).astype(np.int64)
    bboxes, labels = _random_boxes(rng, len(places)), rng.integers(classes, size=len(places))
    bboxes[near] = corners[source[near]] * rng.uniform(0.8, 1.25, (near.sum(), 4))
    labels[near] = category_of[source[near]]
    scores = rng.random(len(places))
    scores = np.where(rng.random(len(places)) < 0.5, scores.round(2), scores.round(5))
    columns = (places.tolist(), labels.tolist(), bboxes.round(2).tolist(), scores.tolist())
    found = [
        {"image_id": image + 1, "category_id": label + 1, "bbox": box, "score": score}
        for image, label, box, score in zip(*columns, strict=True)
    ]
    return truth, found


def _random_boxes(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Draw x, y, width, height, [count, 4], inside the image, small, medium and large."""
    sizes = np.array([WIDTH, HEIGHT]) * rng.uniform(0.1, 0.95, (count, 2)) ** 2
    return np.hstack([rng.random((count, 2)) * (np.array([WIDTH, HEIGHT]) - sizes), sizes]).round(2)
