"""Labels that are likely to be wrong: where people and detectors that have not learnt the image differ.

The idea is that of Northcutt, Jiang and Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR
2021. A disagreement is listed if predictions with similar scores are usually right, on images that the detector has
not learnt. Boxes can also be missing, superfluous or misplaced.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mgral.evaluation.overlap import OVERLAP, Array, overlaps
from mgral.evaluation.precision import PRECISION

Box = tuple[float, float, float, float]
"""x, y, width, height in pixels."""
ErrorKind = Literal["missing", "class", "place", "not found", "people"]
"""What may be wrong.

- missing: an object has no label
- class: it has another class
- place: its box fits badly
- not found: there is no such object
- people: two of them have labelled the image differently
"""
NEAR = 0.1
"""IoU from which a detection may be of a labelled box that fits badly."""
BESIDE = 0.3
"""IoU from which a detection is taken for a second one of an object that is found already, and so for none."""
NOISE = 0.1
"""Smallest probability of being right with which a detection counts, as weak detections lie nearly everywhere."""
USUALLY = 0.7
"""Smallest agreement of people and detectors, 0 to 1, at such scores, for a difference to be listed."""


@dataclass(frozen=True)
class Suspect:
    """What may be wrong with the labels of an image."""

    image: int
    kind: ErrorKind
    label: int | None
    """Id of the class: the labelled one or, where there is no label, the one found. None for the image as a whole."""
    box: Box | None
    """Of the label or, where there is none, of what was found; None for the image as a whole."""
    sure: float
    """How often people and detectors agree in such a case, 0 to 1."""
    reason: str


@dataclass
class _Image:
    """An image's labels [n] and what was found in it [m], the best first."""

    image: int
    labels: npt.NDArray[np.int64]
    boxes: Array
    found_labels: npt.NDArray[np.int64]
    found_boxes: Array
    scores: Array
    overlap: Array
    """IoU, [m, n]."""
    matched: npt.NDArray[np.int64]
    """[m]: the labelled box of its class that each detection takes, as COCO matches them at an IoU of 0.5; or -1."""


def likely_errors(truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> list[Suspect]:
    """Return what may be wrong with labels, the surest first.

    Parameters
    ----------
    truth
        COCO JSON of images whose labels are looked at.
    detections
        COCO results of the same images, by detectors that have not learnt them.
    """
    names = {category["id"]: category["name"] for category in truth["categories"]}
    images = _gather_images(truth, detections)
    if not any(len(image.scores) for image in images) or not any(len(image.labels) for image in images):
        return []
    right_at, agrees_at = _calibrate(images)
    suspects: list[Suspect] = []
    found_by_image: list[npt.NDArray[np.bool_]] = []
    for image in images:
        right = right_at(image.scores)
        by_detections, explained = _by_detections(image, right, agrees_at(image.scores), names)
        suspects += by_detections
        found_by_image.append(explained | (image.overlap[right >= NOISE] >= OVERLAP).any(axis=0))
    suspects += _labels_not_found(images, found_by_image, names)
    return sorted(suspects, key=lambda suspect: (-suspect.sure, suspect.image, suspect.kind, suspect.box or ()))


def _gather_images(truth: Mapping[str, Any], detections: Iterable[Mapping[str, Any]]) -> list[_Image]:
    """Gather the labels and the detections of each image, by id, and match them."""
    labelled, detected = defaultdict(list), defaultdict(list)
    for annotation in truth["annotations"]:
        labelled[annotation["image_id"]].append(annotation)
    for detection in detections:
        detected[detection["image_id"]].append(detection)
    images = []
    for image_id in sorted(image["id"] for image in truth["images"]):
        best = sorted(detected[image_id], key=lambda detection: -detection["score"])
        boxes, found_boxes = (
            np.array([entry["bbox"] for entry in entries], dtype=np.float64).reshape(-1, 4)
            for entries in (labelled[image_id], best)
        )
        labels, found_labels = (
            np.array([entry["category_id"] for entry in entries], dtype=np.int64)
            for entries in (labelled[image_id], best)
        )
        scores = np.array([detection["score"] for detection in best], dtype=np.float64)
        overlap = overlaps(found_boxes, boxes)
        matched = _match_boxes(np.where(found_labels[:, None] == labels, overlap, 0.0))
        images.append(_Image(image_id, labels, boxes, found_labels, found_boxes, scores, overlap, matched))
    return images


def _match_boxes(overlap: Array) -> npt.NDArray[np.int64]:
    """Return the box that each detection takes, [m], given the IoU with those of its class, [m, n]; else -1."""
    free = np.ones(overlap.shape[1], dtype=np.bool_)
    matches = np.full(len(overlap), -1)
    for row in np.flatnonzero((overlap >= OVERLAP).any(axis=1)):
        free_iou = np.where(free, overlap[row], 0.0)
        if free_iou.max() >= OVERLAP:
            matches[row] = free_iou.argmax()
            free[matches[row]] = False
    return matches


def _fit_rising(scores: Array, outcomes: npt.NDArray[np.bool_]) -> Callable[[Array], Array]:
    """Return how often something is so by the score of a detection, as a function that rises with it."""
    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, outcomes)

    def frequencies_at(new_scores: Array) -> Array:
        frequencies: Array = fit.predict(new_scores) if len(new_scores) else new_scores
        return frequencies

    return frequencies_at


def _calibrate(images: Sequence[_Image]) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Return how often a detection has a label, and how often one at a label has its class, by their scores."""
    scores = np.concatenate([image.scores for image in images])
    matched = np.concatenate([image.matched for image in images])
    at_label = np.concatenate([(image.overlap >= OVERLAP).any(axis=1) for image in images])
    same_class = np.concatenate(
        [((image.overlap >= OVERLAP) & (image.found_labels[:, None] == image.labels)).any(axis=1) for image in images]
    )
    right = _fit_rising(scores, matched >= 0)
    return right, _fit_rising(scores[at_label], same_class[at_label]) if at_label.any() else right


def _by_detections(
    image: _Image, right: Array, agrees: Array, names: Mapping[int, str]
) -> tuple[list[Suspect], npt.NDArray[np.bool_]]:
    """Return what detections without a label say of an image, and which of its labels that is about, [n].

    Parameters
    ----------
    right
        Probability that a detection with such a score has a label, [m]. Below `PRECISION` it uses up no label, as
        weak detections lie nearly everywhere.
    agrees
        Probability that a detection at a label has the label's class, [m].
    """
    free = np.ones(len(image.labels), dtype=np.bool_)
    free[image.matched[(image.matched >= 0) & (right >= PRECISION)]] = False
    explained = np.zeros(len(image.labels), dtype=np.bool_)
    missing: list[int] = []
    suspects: list[Suspect] = []

    def note(kind: ErrorKind, category: int, box: Array, sure: float, reason: str) -> None:
        suspects.append(Suspect(image.image, kind, category, _to_box(box), sure, reason))

    for row in np.flatnonzero(image.matched < 0).tolist():
        category, overlap = int(image.found_labels[row]), image.overlap[row]
        evidence = f"{right[row]:.0%} of what is found as clearly is labelled so"
        other_class = np.where(free & (image.labels != category) & (overlap >= OVERLAP), overlap, 0.0)
        misplaced = np.where(free & (image.labels == category) & (overlap >= NEAR), overlap, 0.0)
        if other_class.any() and agrees[row] >= USUALLY:
            label = int(other_class.argmax())
            free[label], explained[label] = False, True
            difference = f"labelled {names[int(image.labels[label])]}, found as {names[category]}"
            why = f"{agrees[row]:.0%} of what is found as clearly at a label has its class"
            note("class", int(image.labels[label]), image.boxes[label], float(agrees[row]), f"{difference}; {why}")
        elif right[row] < USUALLY:
            continue
        elif misplaced.any():
            label = int(misplaced.argmax())
            free[label], explained[label] = False, True
            difference = f"{names[category]} found beside its label, which it overlaps by {overlap[label]:.0%}"
            note("place", category, image.boxes[label], float(right[row]), f"{difference}; {evidence}")
        elif not (overlap >= BESIDE).any() and not _is_near(image, row, missing):
            missing.append(row)
            difference = f"{names[category]} found, and not labelled"
            note("missing", category, image.found_boxes[row], float(right[row]), f"{difference}; {evidence}")
    return suspects, explained


def _to_box(sides: Array) -> Box:
    """Return x, y, width, height [4] as a tuple."""
    x, y, width, height = sides.tolist()
    return x, y, width, height


def _is_near(image: _Image, row: int, other_rows: Sequence[int]) -> bool:
    """Return whether a detection overlaps one in other rows, as a second one of the same object does."""
    if not other_rows:
        return False
    return bool((overlaps(image.found_boxes[[row]], image.found_boxes[list(other_rows)]) >= BESIDE).any())


def _labels_not_found(
    images: Sequence[_Image], found_by_image: Sequence[npt.NDArray[np.bool_]], names: Mapping[int, str]
) -> list[Suspect]:
    """Return labels that no detector finds, of classes and sizes that detectors usually find.

    Parameters
    ----------
    found_by_image
        Of each image, which of its labels something was found at, [n].
    """
    labels, boxes = (np.concatenate([getattr(image, name) for image in images]) for name in ("labels", "boxes"))
    is_found = np.concatenate(found_by_image)
    if is_found.all() or not is_found.any():
        return []
    sizes = np.log(np.maximum(boxes[:, 2] * boxes[:, 3], 1))
    sizes = (sizes - sizes.mean()) / max(sizes.std(), 1e-9)
    features = np.column_stack([labels[:, None] == sorted(names), sizes, sizes**2])
    chances = LogisticRegression(max_iter=1000).fit(features, is_found).predict_proba(features)[:, 1]
    image_ids = np.repeat([image.image for image in images], [len(image.labels) for image in images])
    return [
        Suspect(
            int(image_ids[row]),
            "not found",
            int(labels[row]),
            _to_box(boxes[row]),
            float(chances[row]),
            f"labelled {names[int(labels[row])]}, and nothing is found there; {chances[row]:.0%} of labels of this "
            "class and size are found",
        )
        for row in np.flatnonzero(~is_found & (chances >= USUALLY)).tolist()
    ]
