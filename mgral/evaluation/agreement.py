"""How far two detectors find the same in the same images."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from mgral.evaluation.overlap import OVERLAP, overlaps


def agreement(first: Iterable[Mapping[str, Any]], second: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the F1 of one detector's boxes against another's, 0 to 1; None where neither finds anything.

    Boxes of an image and a class are paired so that their overlaps are largest together, and pairs with an IoU of 0.5
    count: 2 * pairs / (boxes of the one + boxes of the other). Neither detector is taken to be right.

    After Bloodgood and Vijay-Shanker, *A Method for Stopping Active Learning Based on Stabilizing Predictions and the
    Need for User-Adjustable Stopping*, CoNLL 2009, who stop where consecutive models agree on a set of examples
    without labels. They measure by Cohen's kappa, which needs the agreement of chance; for boxes there is none.

    Parameters
    ----------
    first, second
        COCO results of the same images, without boxes that are not to be trusted.
    """
    first_boxes, second_boxes = _boxes_by_image_and_class(first), _boxes_by_image_and_class(second)
    boxes = sum(map(len, first_boxes.values())) + sum(map(len, second_boxes.values()))
    pairs = 0
    for key in sorted(first_boxes.keys() & second_boxes.keys()):
        ious = overlaps(np.array(first_boxes[key], dtype=np.float64), np.array(second_boxes[key], dtype=np.float64))
        ious[ious < OVERLAP] = 0
        pairs += int((ious[linear_sum_assignment(ious, maximize=True)] > 0).sum())
    return 2 * pairs / boxes if boxes else None


def _boxes_by_image_and_class(detections: Iterable[Mapping[str, Any]]) -> dict[tuple[int, int], list[list[float]]]:
    """Return the boxes, x, y, width, height, by the ids of their image and class."""
    boxes = defaultdict(list)
    for detection in detections:
        boxes[detection["image_id"], detection["category_id"]].append(detection["bbox"])
    return boxes
