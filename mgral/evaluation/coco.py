"""Detections as COCO results, and their scores by COCO's rules."""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faster_coco_eval
import numpy as np
import numpy.typing as npt
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SCORES = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
"""The first entries of COCOeval's summary, in its order."""
CURVE_SCORES = {"map": "mAP@[.5:.95]", "ap50": "AP50"}
"""Scores that curves are drawn of, and their titles."""
FEW = 20_000
"""Detections up to which pycocotools scores: that takes seconds, and gives small experiments the bits they had."""

Evaluate = Callable[[dict[str, Any], dict[str, Any]], Any]


def score_detections(
    truth: Mapping[str, Any],
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


def of_images(truth: Mapping[str, Any], image_ids: Iterable[int]) -> dict[str, Any]:
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
