"""Average precision on resamples of the test images: detections are matched to labels once, and only counted again.

Matching and precision at 101 recalls are COCO's (Lin et al., *Microsoft COCO*, 2014, and its evaluation code), for
boxes of all sizes, at most 100 detections of a class in an image, and no crowds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from mgral.evaluation.overlap import Array, overlaps

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""IoU from which a detection finds a box: AP50 has the first, mAP the mean over all."""
RECALLS = np.linspace(0, 1, 101)
MOST_DETECTIONS = 100
"""Detections of a class in an image that count, best first."""
_AT_ONCE = 4_000_000
"""Numbers of a table that is held at once."""


@dataclass(frozen=True)
class Matched:
    """The detections of one class, the highest score first; of equal ones the earlier image first."""

    images: npt.NDArray[np.int64]
    """[D]: place of the image of each."""
    right: npt.NDArray[np.bool_]
    """[10, D]: whether it finds a box, by overlap."""
    boxes: npt.NDArray[np.int64]
    """[I]: labelled boxes in each image."""

    def average_precision(self, weights: Array) -> Array:
        """Return AP by overlap, [10, B], with images counted as often as weights [I, B] say; NaN without a box."""
        height = max(1, int(self.right.sum(axis=1).max(initial=0)))
        step = max(1, _AT_ONCE // height)
        parts = [self._precision(weights[:, start : start + step]) for start in range(0, weights.shape[1], step)]
        return np.concatenate(parts, axis=1)

    def _precision(self, weights: Array) -> Array:
        """Return AP as `average_precision` does, of so many weights that a table of them fits into memory."""
        total = self.boxes @ weights
        precisions = np.array([_area(self.images, hits, weights, total) for hits in self.right])
        return np.where(total > 0, precisions, np.nan)


def _area(images: npt.NDArray[np.int64], hits: npt.NDArray[np.bool_], weights: Array, total: Array) -> Array:
    """Return the mean precision at 101 recalls, [B], of detections that find a box or not, [D].

    Precision matters only where a box is found, as it falls and recall stays where none is.
    """
    steps = int(hits.sum())
    if not steps:
        return np.zeros(weights.shape[1])
    # Segment of each detection: how many boxes are found before it.
    segment: npt.NDArray[np.int64] = np.cumsum(hits) - hits
    counted = segment < steps

    def count_until(chosen: npt.NDArray[np.bool_]) -> Array:
        """Return how many of the chosen detections there are up to each box that is found, weighted, [steps, B]."""
        rows, columns = segment[chosen], images[chosen]
        counts = csr_array((np.ones(len(rows)), (rows, columns)), shape=(steps, len(weights)))
        return np.cumsum(counts @ weights, axis=0)

    right, wrong = count_until(hits), count_until(~hits & counted)
    precision = right / np.maximum(right + wrong, np.spacing(1))
    highest = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    reached = np.searchsorted(RECALLS, right / np.maximum(total, np.spacing(1)), side="right")
    area: Array = (highest * np.diff(reached, axis=0, prepend=0)).sum(axis=0) / len(RECALLS)
    return area


def match_class(
    truth: Iterable[Mapping[str, Any]], detections: Iterable[Mapping[str, Any]], images: Sequence[int], category: int
) -> Matched:
    """Match the detections of a class to its labelled boxes, as COCO does.

    Parameters
    ----------
    truth, detections
        Annotations and results as in COCO JSON; those of other images or classes do not count.
    images
        Ids of the images, ascending.
    """
    places = {image: place for place, image in enumerate(images)}
    labelled, detected = _by_image(truth, places, category), _by_image(detections, places, category)
    scores: list[float] = []
    rows: list[int] = []
    right = [np.zeros((len(OVERLAPS), 0), dtype=np.bool_)]
    for place in sorted(detected):
        best = sorted(detected[place], key=lambda detection: -detection["score"])[:MOST_DETECTIONS]
        scores += [detection["score"] for detection in best]
        rows += [place] * len(best)
        right.append(_match_all(overlaps(_boxes(best), _boxes(labelled[place]))))
    order = np.argsort(-np.array(scores, dtype=np.float64), kind="stable")
    return Matched(
        np.array(rows, dtype=np.int64)[order],
        np.concatenate(right, axis=1)[:, order],
        np.array([len(labelled[place]) for place in range(len(images))], dtype=np.int64),
    )


def _by_image(
    entries: Iterable[Mapping[str, Any]], places: Mapping[int, int], category: int
) -> defaultdict[int, list[Mapping[str, Any]]]:
    """Return the annotations or results of a class by the place of their image, without those of other images."""
    entries_by_place = defaultdict(list)
    for entry in entries:
        if entry["category_id"] == category and entry["image_id"] in places:
            entries_by_place[places[entry["image_id"]]].append(entry)
    return entries_by_place


def _match_all(overlap: Array) -> npt.NDArray[np.bool_]:
    """Return which detections find a box, [10, D], given their overlaps, [D, boxes]; the first takes it."""
    limits = np.minimum(OVERLAPS, 1 - 1e-10)
    right = np.zeros((len(limits), len(overlap)), dtype=np.bool_)
    free = np.ones((len(limits), overlap.shape[1]), dtype=np.bool_)
    rows = np.arange(len(limits))
    for detection in np.flatnonzero((overlap >= limits[0]).any(axis=1)):
        free_iou = np.where(free & (overlap[detection] >= limits[:, None]), overlap[detection], -1.0)
        best = free_iou.shape[1] - 1 - free_iou[:, ::-1].argmax(axis=1)  # of equal ones the last, as COCO takes it
        right[:, detection] = free_iou[rows, best] >= 0
        free[rows[right[:, detection]], best[right[:, detection]]] = False
    return right


def _boxes(entries: Sequence[Mapping[str, Any]]) -> Array:
    """Return x, y, width, height of each, [n, 4]."""
    return np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
