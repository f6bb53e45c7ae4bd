"""Average precision by the rules of PASCAL VOC (Everingham et al., IJCV 2010, section 4.2), at an overlap of 0.5.

What its development kit does, and where COCO's AP50 differs: a detection goes to the box that it overlaps most,
taken or not, where COCO looks among those that are left; boxes include their last pixel; precision is read off at
other recalls; each of an image's detections counts, not the best 100.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.evaluation.overlap import OVERLAP, Array, overlaps

VOC_SCORES = ("ap50_11point", "ap50_area")
"""The rule of VOC 2007 and that of 2010 and later."""

Entries = list[dict[str, Any]]
"""Boxes or detections as in COCO JSON."""


def is_voc(truth: Mapping[str, Any]) -> bool:
    """Return whether a data set that the step `data` has written comes from VOC, whose objects may be difficult."""
    return any("difficult" in box for box in truth["annotations"])


def add_voc_scores(scores: dict[str, Any], truth: Mapping[str, Any], detections: Entries) -> dict[str, Any]:
    """Return COCO's scores of all images of a data set, and VOC's beside them, overall and in `per_class`.

    Returns
    -------
    ap50_11point, ap50_area: in 0..1, None where there is no box; overall the mean over the classes that have boxes.
    """
    boxes_by_class, detections_by_class = _group_by_class(truth["annotations"]), _group_by_class(detections)
    per_class = [
        {**row, **score_class(boxes_by_class[row["id"]], detections_by_class[row["id"]])}
        for row in scores["per_class"]
    ]
    overall = {name: _mean([row[name] for row in per_class]) for name in VOC_SCORES}
    return {**scores, **overall, "per_class": per_class}


def score_class(boxes: Entries, detections: Entries) -> dict[str, float | None]:
    """Score the detections of a class by both rules; those of a box with `iscrowd` (difficult) count neither way."""
    scored = sum(not box["iscrowd"] for box in boxes)
    if not scored:
        return dict.fromkeys(VOC_SCORES)
    precision, recall = precision_recall(_find_boxes(boxes, detections), scored)
    return {"ap50_11point": eleven_point_ap(precision, recall), "ap50_area": area_ap(precision, recall)}


def precision_recall(hits: npt.NDArray[np.bool_], boxes: int) -> tuple[Array, Array]:
    """Return precision and recall after each detection.

    Parameters
    ----------
    hits
        [detections], by falling score: whether it finds a box, or is a false positive.
    boxes
        That there are to find, at least 1.
    """
    true = np.cumsum(hits)
    return true / np.arange(1, len(hits) + 1), true / boxes


def eleven_point_ap(precision: Array, recall: Array) -> float:
    """Return the mean, over the recalls 0, 0.1 ... 1, of the highest precision from that recall on (VOC 2007)."""
    # k / 10 and not k * 0.1: a recall of 3 boxes in 10 reaches 0.3.
    return float(np.mean([precision[recall >= k / 10].max(initial=0) for k in range(11)]))


def area_ap(precision: Array, recall: Array) -> float:
    """Return the area under the highest precision from each recall on (VOC 2010 and later)."""
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * highest))


def _find_boxes(boxes: Entries, detections: Entries) -> npt.NDArray[np.bool_]:
    """Return of a class's detections that count, by falling score, then in their order, whether they find a box."""
    ordered = sorted(detections, key=lambda detection: -detection["score"])
    best, overlap = _best_boxes(boxes, ordered)
    claims = overlap >= OVERLAP
    ignored = np.array([bool(box["iscrowd"]) for box in boxes], dtype=np.bool_)
    counts = ~(claims & ignored[best])
    hits = np.zeros(len(ordered), dtype=np.bool_)
    ranks = np.flatnonzero(claims)
    hits[ranks[np.unique(best[ranks], return_index=True)[1]]] = True  # the first to claim a box
    return hits[counts]


def _best_boxes(boxes: Entries, detections: Entries) -> tuple[npt.NDArray[np.int64], Array]:
    """Return the box in its image that each detection overlaps most, as an index, and by how much; or 0 and 0."""
    rows_of, ranks_of = defaultdict(list), defaultdict(list)
    for row, box in enumerate(boxes):
        rows_of[box["image_id"]].append(row)
    for rank, detection in enumerate(detections):
        ranks_of[detection["image_id"]].append(rank)
    best, overlap = np.zeros(len(detections), dtype=np.int64), np.zeros(len(detections))
    labelled, detected = _with_last_pixel(boxes), _with_last_pixel(detections)
    for image in rows_of.keys() & ranks_of.keys():
        rows, ranks = np.array(rows_of[image]), np.array(ranks_of[image])
        ious = overlaps(detected[ranks], labelled[rows])
        best[ranks], overlap[ranks] = rows[ious.argmax(axis=1)], ious.max(axis=1)
    return best, overlap


def _with_last_pixel(entries: Entries) -> Array:
    """Return x, y, width, height, [n, 4]; the pixel on which a box ends in VOC's files belongs to it."""
    boxes = np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
    return np.hstack([boxes[:, :2], boxes[:, 2:] + 1])


def _group_by_class(entries: Entries) -> defaultdict[int, Entries]:
    entries_by_class = defaultdict(list)
    for entry in entries:
        entries_by_class[entry["category_id"]].append(entry)
    return entries_by_class


def _mean(values: list[float | None]) -> float | None:
    """Return the mean of those that are not None; None where none is."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None
