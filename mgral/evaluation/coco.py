"""Detections as COCO results, and their scores by COCO's rules."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_coco_eval import COCO, COCOeval_faster

SCORES = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""The first entries of COCOeval's summary, in its order."""
CURVE_SCORES = {"map": "mAP@[.5:.95]", "ap50": "AP50"}
"""Scores that curves are drawn of, and their titles."""


def run_faster_coco_eval(truth: dict[str, Any], detections: dict[str, Any]) -> COCOeval_faster:
    """Evaluate detections, given as annotations of the same COCO data set."""
    evaluation = COCOeval_faster(COCO(truth), COCO(detections), "bbox")
    evaluation.run()
    return evaluation


def score_detections(
    truth: Mapping[str, Any],
    detections: list[dict[str, Any]],
    image_ids: Iterable[int],
    evaluate: Callable[[dict[str, Any], dict[str, Any]], Any] = run_faster_coco_eval,
) -> dict[str, Any]:
    """Score COCO results on some images of a COCO data set.

    Parameters
    ----------
    evaluate
        What runs COCO's evaluation; tests compare with pycocotools, the library of COCO's authors.

    Returns
    -------
    map (mAP@[.5:.95]), ap50, ap75, ap_small, ap_medium, ap_large in 0..1, None where there is no such box;
    images, boxes (crowds left out); per_class: id, name, map, ap50, boxes.
    """
    truth = of_images(truth, image_ids)
    annotations = [
        {**detection, "id": index, "area": detection["bbox"][2] * detection["bbox"][3], "iscrowd": 0}
        for index, detection in enumerate(detections, start=1)
    ]
    evaluation = evaluate(truth, {**truth, "annotations": annotations})
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


def of_images(truth: Mapping[str, Any], image_ids: Iterable[int]) -> dict[str, Any]:
    """Return the part of a COCO data set that is about some of its images."""
    wanted_ids = {int(image_id) for image_id in image_ids}
    return {
        "images": [image for image in truth["images"] if image["id"] in wanted_ids],
        "annotations": [box for box in truth["annotations"] if box["image_id"] in wanted_ids],
        "categories": truth["categories"],
    }


def _mean(precision: npt.NDArray[np.float64]) -> float | None:
    """Mean over recalls (and overlaps); COCO marks what has no box with -1."""
    return None if precision.size == 0 or precision.flat[0] < 0 else float(precision.mean())
