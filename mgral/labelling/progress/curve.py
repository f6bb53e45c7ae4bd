"""The curve of a project: how good the detector of each round is on the audit or test set, with intervals."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.errors import InputError, StepError
from mgral.evaluation.agreement import agreement
from mgral.evaluation.cross_validation import as_units, class_means, resampled_weights
from mgral.evaluation.intervals import NO_INTERVAL, Interval
from mgral.evaluation.precision import trusted_score
from mgral.evaluation.resampled import match_class
from mgral.labelling.progress.effort import Times
from mgral.labelling.progress.evaluated import Audit, Entry, EvaluatedRound, gather
from mgral.labelling.results import LEAST_BOXES
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project
from mgral.report.bootstrap import middle

RESAMPLES = 1000
FEWEST_IMAGES = 10
"""Fewest images, with near-copies counted once, for intervals."""
CACHE = "curve.json"
"""In results/: what was measured, and the digest of what it was measured on."""
VERSION = 2
"""Version of the content of this file; a file of another version is not used."""
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """A score, 0 to 1, and its 95 % interval over resamples of the images; NaN where there is none."""

    value: float
    interval: Interval


@dataclass(frozen=True)
class Point:
    """A round on the curve."""

    round: int
    pictures: int
    """Pictures that its detector was trained on."""
    boxes: int
    """Boxes in these pictures."""
    hours: float | None
    """Hours of labelling these pictures; None where times are not known."""
    scores: Mapping[str, Score]
    """By the name of the score, map and ap50."""
    by_class: Mapping[int, Score]
    """AP@[.5:.95] of each class of today that it knows and that has boxes enough to measure by."""


@dataclass(frozen=True)
class Curve:
    """All rounds that can be compared, the earliest first."""

    points: tuple[Point, ...]
    gains: Mapping[str, tuple[Score, ...]]
    """By score: the change of each point, from the second on, since the one before; paired, on the same resamples."""
    scatter: Mapping[str, float]
    """By score: standard deviation of a point over resamples, less the mean of all points in each resample."""
    agreement: tuple[float | None, ...]
    """F1, 0 to 1, between the trusted detections of each point, from the second on, and of the one before."""
    images: int
    """Images that they are measured on."""
    boxes: Mapping[int, int]
    """Boxes there, by class of today."""
    notes: tuple[str, ...]
    """What is left out or less sure, for a person."""


def project_curve(folder: Path, settings: ProjectSettings, project: Project, times: Times) -> Curve:
    """Return the curve of the project in a folder.

    What takes long is kept in its results, and measured again where labels or detections differ.
    """
    audit = gather(folder, settings, project)
    if not audit.images:
        return Curve((), dict.fromkeys(NAMES, ()), dict.fromkeys(NAMES, 0.0), (), 0, {}, audit.notes)
    measured = _measured(folder, audit)
    boxes = dict.fromkeys(project.classes, 0)
    for box in audit.truth:
        boxes[box["category_id"]] += 1
    notes = list(audit.notes)
    if measured["clusters"] < FEWEST_IMAGES:
        notes.append(f"no intervals: fewer than {FEWEST_IMAGES} different pictures to measure by")
    points = tuple(
        Point(
            round=evaluated.round,
            pictures=len(evaluated.learnt),
            boxes=sum(len(image.boxes) for image in evaluated.learnt),
            hours=times.hours(image.id for image in evaluated.learnt),
            scores={name: _score(measured["scores"][name][index]) for name in NAMES},
            by_class={
                label: _score(measured["by_class"][str(label)][index])
                for label in sorted(evaluated.classes)
                if boxes[label] >= LEAST_BOXES
            },
        )
        for index, evaluated in enumerate(audit.rounds)
    )
    return Curve(
        points=points,
        gains={name: tuple(map(_score, measured["gains"][name])) for name in NAMES},
        scatter=measured["scatter"],
        agreement=tuple(measured["agreement"]),
        images=len(audit.images),
        boxes=boxes,
        notes=tuple(notes),
    )


NAMES = {"map": slice(None), "ap50": slice(0, 1)}
"""Scores, and the IoU thresholds over which each is the mean."""


def _score(values: Sequence[float | None]) -> Score:
    """Return a score as `_summary` gives it, with NaN where that has None."""
    value, low, high = (np.nan if number is None else number for number in values)
    return Score(value, Interval(low, high))


def _measured(folder: Path, audit: Audit) -> dict[str, Any]:
    """Return what `measure` gives, from the project's results where it was measured before."""
    path, key = folder / "results" / CACHE, f"{VERSION}.{audit.digest}"
    try:
        cached = read_json(path)
        measured: dict[str, Any] = cached["measured"]
        if (cached["key"], cached["sha256"]) == (key, _digest(measured)):
            return measured
    except (InputError, KeyError, TypeError):  # not there, or not complete: it is made of what is there
        pass
    measured = measure(audit)
    with suppress(StepError):  # in a folder that cannot be written it is measured each time
        write_json(path, {"key": key, "measured": measured, "sha256": _digest(measured)})
    return measured


def _digest(measured: object) -> str:
    return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()


def measure(audit: Audit, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Return the scores of all rounds with their intervals, as JSON.

    Images are drawn with replacement, near-copies together, and the same ones for all rounds, so that the difference
    of two rounds has an interval of its own (Efron and Tibshirani, *An introduction to the bootstrap*, 1993, chapters
    8 and 13). The mean over classes is, in each resample, that over the classes which have boxes in it.
    """
    units = as_units(np.array(audit.images, dtype=np.int64), audit.groups)
    weights = resampled_weights(audit.images, units, derive_seed(0, "project", "curve"), resamples)
    labels = sorted({label for evaluated in audit.rounds for label in evaluated.classes})
    precisions = np.full((len(labels), len(audit.rounds), 10, weights.shape[1]), np.nan)
    for row, label in enumerate(labels):
        asked_images = [image for image in audit.images if label not in audit.unasked.get(image, ())]
        mask = np.isin(audit.images, asked_images)
        for column, evaluated in enumerate(audit.rounds):
            if label in evaluated.classes:
                matched = match_class(audit.truth, evaluated.detections, asked_images, label)
                precisions[row, column] = matched.average_precision(weights[mask])
    shared = precisions[[labels.index(label) for label in audit.classes]]
    scores = {name: class_means(shared[:, :, thresholds].mean(axis=2)) for name, thresholds in NAMES.items()}
    enough = len(units) >= FEWEST_IMAGES
    return {
        "clusters": len(units),
        "scores": {name: [_summary(row, enough) for row in rows] for name, rows in scores.items()},
        "gains": {name: [_summary(row, enough) for row in np.diff(rows, axis=0)] for name, rows in scores.items()},
        "scatter": {name: _scatter(rows[:, 1:]) for name, rows in scores.items()},
        "by_class": {
            str(label): [_summary(row, enough) for row in precision.mean(axis=1)]
            for label, precision in zip(labels, precisions, strict=True)
        },
        "agreement": [
            agreement(*pair) for pair in pairwise(_trusted(audit, evaluated) for evaluated in audit.rounds)
        ],
    }


def _summary(values: Array, with_interval: bool) -> list[float | None]:
    """Return a score and the ends of its interval, given the score and then its resamples, [1 + resamples]."""
    resampled = values[1:][~np.isnan(values[1:])]
    interval = middle(resampled) if with_interval and len(resampled) else NO_INTERVAL
    return [None if np.isnan(value) else float(value) for value in (values[0], *interval)]


def _scatter(resampled: Array) -> float:
    """Return the standard deviation of a round's score around the mean of all rounds', [rounds, resamples]."""
    complete_resamples = resampled[:, ~np.isnan(resampled).any(axis=0)]
    if len(complete_resamples) < 2 or not complete_resamples.shape[1]:
        return 0.0
    deviations = complete_resamples - complete_resamples.mean(axis=0)
    return float(np.sqrt(deviations.var(axis=1).sum() / (len(complete_resamples) - 1)))


def _trusted(audit: Audit, evaluated: EvaluatedRound) -> list[Entry]:
    """Return what a round's detector found and is trusted in, of the classes that all rounds know."""
    images, classes = frozenset(audit.images), frozenset(audit.classes)
    truth = {
        "images": [{"id": image} for image in audit.images],
        "annotations": [box for box in audit.truth if box["category_id"] in classes],
    }
    detections = [box for box in evaluated.detections if box["category_id"] in classes and box["image_id"] in images]
    threshold = trusted_score(truth, detections)
    return [box for box in detections if threshold is not None and box["score"] >= threshold]
