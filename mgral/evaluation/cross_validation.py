"""Scores of detectors on labelled images that they have not learnt, with intervals."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.errors import InputError
from mgral.evaluation.overlap import Array
from mgral.evaluation.resampled import match_class

RESAMPLES = 1000
TAILS = (0.025, 0.975)


def deal_folds(
    images: npt.NDArray[np.int64], groups: Iterable[Sequence[int]], folds: int, seed: int
) -> tuple[tuple[int, ...], ...]:
    """Deal images into folds of about the same size, each group of near-copies into one.

    Parameters
    ----------
    images
        Ids, int64 [N].
    groups
        Ids of images that are near-copies of each other, or of one video, each in one group at most; others count
        nothing.
    seed
        Draws the order in which groups of one size are dealt.

    Returns
    -------
    The ids of each fold, ascending.

    Raises
    ------
    InputError
        Where there are fewer groups than folds.
    """
    units = as_units(images, groups)
    if len(units) < folds:
        raise InputError(
            f"{folds} folds need as many labelled pictures that are not near-copies of each other, or of one video, "
            f"and there are {len(units)}; label more, or take fewer folds (--folds)"
        )
    order = np.random.default_rng(derive_seed(seed, "folds")).permutation(len(units)).tolist()
    dealt: list[list[int]] = [[] for _ in range(folds)]
    for index in sorted(order, key=lambda index: -len(units[index])):  # of one size in the order drawn
        min(dealt, key=len).extend(units[index])
    return tuple(tuple(sorted(fold)) for fold in dealt)


def as_units(images: npt.NDArray[np.int64], groups: Iterable[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return images [N] as groups of near-copies and single ones, each image once, ascending by the first of each."""
    ids = set(images.tolist())
    present_groups = [tuple(sorted(ids.intersection(group))) for group in groups]
    grouped = {image for group in present_groups for image in group}
    return sorted([*(group for group in present_groups if group), *((image,) for image in ids - grouped)])


def score_held_out(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], units: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Score what detectors found in images that they have not learnt, all images together.

    Intervals are of the bootstrap over units (percentiles; Efron and Tibshirani, *An introduction to the bootstrap*,
    1993, chapter 13), which knows how images differ, and not how detectors do that are trained again.

    Parameters
    ----------
    truth
        COCO JSON.
    detections
        COCO results of its images.
    units
        Ids of its images, in groups that are drawn together, each image once.

    Returns
    -------
    images and boxes; map and ap50, each {score, low, high}, 0 to 1, None where no box is labelled; per_class: id,
    name, boxes, and AP@[.5:.95] as map, likewise.
    """
    images = sorted(image for unit in units for image in unit)
    weights = resampled_weights(images, units, derive_seed(0, "held out", "bootstrap"))
    boxes = Counter(annotation["category_id"] for annotation in truth["annotations"])
    table = precision_table(truth, detections, images, weights)
    return {
        "images": len(images),
        "boxes": boxes.total(),
        "map": _interval(class_means(table.mean(axis=1))),
        "ap50": _interval(class_means(table[:, 0])),
        "per_class": [
            {"id": category["id"], "name": category["name"], "boxes": boxes[category["id"]], "map": _interval(row)}
            for category, row in zip(truth["categories"], table.mean(axis=1), strict=True)
        ],
    }


def resampled_weights(
    images: Sequence[int], units: Sequence[Sequence[int]], seed: int, resamples: int = RESAMPLES
) -> Array:
    """Return how often each image counts, [I, 1 + resamples]: once in the first column, then as units are drawn.

    Units are drawn with replacement, as many as there are.
    """
    unit_of_image = {image: number for number, unit in enumerate(units) for image in unit}
    drawn = np.random.default_rng(seed).multinomial(len(units), np.full(len(units), 1 / len(units)), resamples)
    counts = np.concatenate([np.ones((1, len(units))), drawn]).T
    weights: Array = counts[[unit_of_image[image] for image in images]]
    return weights


def precision_table(
    truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], images: Sequence[int], weights: Array
) -> Array:
    """Return AP by class, overlap and resample, [C, 10, B], given weights [I, B]; NaN where a class has no box."""
    matched = [
        match_class(truth["annotations"], detections, images, category["id"]) for category in truth["categories"]
    ]
    return np.stack([matched_class.average_precision(weights) for matched_class in matched])


def class_means(precision: Array) -> Array:
    """Return the mean over classes, [...], of [C, ...], without those that have no box; NaN where none has."""
    has_boxes = ~np.isnan(precision)
    total, count = np.where(has_boxes, precision, 0).sum(axis=0), has_boxes.sum(axis=0)
    means: Array = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return means


def _interval(values: Array) -> dict[str, float] | None:
    """Return a score and its interval, of the score itself and its resamples, [1 + B]."""
    if np.isnan(values[0]):
        return None
    low, high = np.nanquantile(values[1:], TAILS)
    return {"score": float(values[0]), "low": float(low), "high": float(high)}


def score_several(
    truth: Mapping[str, Any],
    detections_by_detector: Sequence[Sequence[Mapping[str, Any]]],
    units: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """Return the mean score of several detectors on the same images, with the interval of the bootstrap over units.

    Parameters
    ----------
    truth
        COCO JSON of images that none of them has learnt, such as the audit set.
    detections_by_detector
        COCO results of each detector.
    units
        Ids of the images, in groups that are drawn together, each image once.

    Returns
    -------
    map and ap50 as `score_held_out` gives them.
    """
    images = sorted(image for unit in units for image in unit)
    weights = resampled_weights(images, units, derive_seed(0, "audit", "bootstrap"))
    tables = [precision_table(truth, results, images, weights) for results in detections_by_detector]
    means = {
        "map": [class_means(table.mean(axis=1)) for table in tables],
        "ap50": [class_means(table[:, 0]) for table in tables],
    }
    return {name: _interval(np.mean(rows, axis=0)) for name, rows in means.items()}
