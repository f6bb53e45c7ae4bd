"""The score from which detections are more often right than wrong."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.evaluation.overlap import OVERLAP, overlaps

PRECISION = 0.5
"""Part of the detections that are right."""
WITHOUT_LABELS = 0.5
"""The score where there is nothing to measure by."""


def trusted_score(truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the lowest score at which at least half of the detections are right.

    Rule: all detections of all classes together, best first; each takes the labelled box of its class and image that
    it overlaps most, of those that no better one took, and is right where their IoU is 0.5 or more. The precision at
    a score is the part of the detections of that score and above that are right.

    Parameters
    ----------
    truth
        COCO JSON of images whose objects are all labelled, such as the audit set; crowds do not count.
    detections
        COCO results of the same images.

    Returns
    -------
    The score; 0.5 where there is no labelled box, and None where half are right at no score.
    """
    boxes: dict[tuple[int, int], list[Sequence[float]]] = defaultdict(list)
    for annotation in truth["annotations"]:
        if not annotation.get("iscrowd", 0):
            boxes[annotation["image_id"], annotation["category_id"]].append(annotation["bbox"])
    if not boxes:
        return WITHOUT_LABELS
    image_ids = {image["id"] for image in truth["images"]}
    free = {key: np.array(image_boxes, dtype=np.float64) for key, image_boxes in boxes.items()}
    scores, right = [], []
    for detection in sorted(
        (detection for detection in detections if detection["image_id"] in image_ids),
        key=lambda detection: -detection["score"],
    ):
        scores.append(detection["score"])
        right.append(_take_box(free, (detection["image_id"], detection["category_id"]), detection["bbox"]))
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    # Detections of the same score count together: those before the last of them say nothing.
    last = np.append(np.diff(scores) != 0, True) if scores else np.empty(0, bool)
    trusted = np.flatnonzero((precision >= PRECISION) & last)
    return float(scores[trusted[-1]]) if len(trusted) else None


def _take_box(
    free: dict[tuple[int, int], npt.NDArray[np.float64]], key: tuple[int, int], box: Sequence[float]
) -> bool:
    """Take the box that a detection is of from those that are free, and return whether there was one."""
    if key not in free or not len(free[key]):
        return False
    ious = overlaps(np.array([box], dtype=np.float64), free[key])[0]
    best = int(ious.argmax())
    if ious[best] < OVERLAP:
        return False
    free[key] = np.delete(free[key], best, axis=0)
    return True
