"""Detections as COCO results, and their scores by COCO's rules."""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import faster_coco_eval
import numpy as np
import numpy.typing as npt
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor
from tqdm import tqdm

from mgral.config import EvaluationConfig
from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.detectors import Detector
from mgral.detectors.view import show

SCORES = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""The first entries of COCOeval's summary, in its order."""
FEW = 20_000
"""Detections up to which pycocotools scores: that takes seconds, and gives small experiments the bits they had."""

Evaluate = Callable[[dict[str, Any], dict[str, Any]], Any]


def image_chunks(
    images: Images, rows: npt.NDArray[np.int64], what: str, device: torch.device
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Yield rows and what a detector is shown of them, [B, 3, H, W] on a device, with a progress bar."""
    size = images.canvas.chunk
    covered = torch.from_numpy(images.covered.astype(np.float32))
    for start in tqdm(range(0, len(rows), size), desc=what, unit="batch", disable=None):
        part = rows[start : start + size]
        pixels = torch.from_numpy(images.read(part)).permute(0, 3, 1, 2)
        images.prefetch(rows[start + size : start + 2 * size])
        yield part, show(pixels.to(device), covered[part].to(device), images.canvas)


@torch.no_grad()
def detect_images(
    detector: Detector,
    dataset: Dataset,
    images: Images,
    rows: npt.NDArray[np.int64],
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """Run a detector over rows of a data set.

    Returns
    -------
    COCO results: image_id, category_id, bbox [x, y, width, height] in pixels of the original image, score.
    """
    shown = images.canvas.shown(dataset.sizes)
    results: list[dict[str, Any]] = []
    for part, inputs in image_chunks(images, rows, "detect", detector.device):
        predictions = detector(inputs)
        found = detector.detect(predictions, config.score_threshold, config.nms_iou, config.max_detections)
        for row, one in zip(part, found, strict=True):
            scale = np.tile(dataset.sizes[row] / shown[row], 2)
            boxes = np.minimum(one.boxes.cpu().numpy() * scale, np.tile(dataset.sizes[row], 2))
            boxes[:, 2:] -= boxes[:, :2]
            results.extend(
                {
                    "image_id": int(dataset.image_ids[row]),
                    "category_id": dataset.categories[label].id,
                    "bbox": [round(float(side), 2) for side in box],
                    "score": round(float(score), 5),
                }
                for box, score, label in zip(boxes, one.scores.tolist(), one.labels.tolist(), strict=True)
            )
    return results


def score_detections(
    truth: dict[str, Any],
    detections: list[dict[str, Any]],
    image_ids: Iterable[int],
    evaluate: Evaluate | None = None,
) -> dict[str, Any]:
    """Score COCO results on some images of a COCO data set.

    Parameters
    ----------
    evaluate
        By which library; if None, by pycocotools for few detections, and for many by the faster one.

    Returns
    -------
    map (mAP@[.5:.95]), ap50, ap75, ap_small, ap_medium, ap_large in 0..1, None where there is no such box;
    images, boxes (crowds left out); per_class: id, name, map, ap50, boxes.
    """
    truth = of_images(truth, image_ids)
    found = [
        {**one, "id": index, "area": one["bbox"][2] * one["bbox"][3], "iscrowd": 0}
        for index, one in enumerate(detections, start=1)
    ]
    if evaluate is None:
        evaluate = by_pycocotools if len(found) <= FEW else by_faster_coco_eval
    evaluation = evaluate(truth, {**truth, "annotations": found})
    boxes = Counter(box["category_id"] for box in truth["annotations"] if not box.get("iscrowd", 0))
    names = {category["id"]: category["name"] for category in truth["categories"]}
    precision = evaluation.eval["precision"]
    per_class = [
        {
            "id": category,
            "name": names[category],
            "map": _mean(precision[:, :, index, 0, -1]),
            "ap50": _mean(precision[0, :, index, 0, -1]),
            "boxes": boxes[category],
        }
        for index, category in enumerate(map(int, evaluation.params.catIds))
    ]
    scores = {
        name: None if value < 0 else float(value)
        for name, value in zip(SCORES, evaluation.stats[: len(SCORES)], strict=True)
    }
    return {**scores, "images": len(truth["images"]), "boxes": boxes.total(), "per_class": per_class}


def of_images(truth: dict[str, Any], image_ids: Iterable[int]) -> dict[str, Any]:
    """Return the part of a COCO data set that is about some of its images."""
    wanted = {int(image_id) for image_id in image_ids}
    return {
        "images": [image for image in truth["images"] if image["id"] in wanted],
        "annotations": [box for box in truth["annotations"] if box["image_id"] in wanted],
        "categories": truth["categories"],
    }


def by_pycocotools(truth: dict[str, Any], found: dict[str, Any]) -> COCOeval:
    """Evaluate detections, as annotations of the same COCO data set, by the library of COCO's authors."""
    with contextlib.redirect_stdout(io.StringIO()):
        return _run(COCOeval(_coco(truth), _coco(found), "bbox"))


def by_faster_coco_eval(truth: dict[str, Any], found: dict[str, Any]) -> faster_coco_eval.COCOeval_faster:
    """Do the same in less time; last bits differ, as pycocotools adds 2e-16 to the detections that it divides by."""
    return _run(faster_coco_eval.COCOeval_faster(faster_coco_eval.COCO(truth), faster_coco_eval.COCO(found), "bbox"))


def _run(evaluation: Any) -> Any:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation


def _coco(content: dict[str, Any]) -> COCO:
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    """Mean over recalls (and overlaps); COCO marks what has no box with -1."""
    return None if precision.size == 0 or precision.flat[0] < 0 else float(precision.mean())
