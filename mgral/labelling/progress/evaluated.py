"""What the detectors of a project's rounds found in the audit or test set, beside today's labels of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_json
from mgral.config import load_config
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import Labelled, load_snapshot
from mgral.data.groups import find_groups, groups_by_name
from mgral.data.thumbnails import load_thumbnails
from mgral.data.values import number as finite
from mgral.errors import InputError, program
from mgral.labelling.batches import detector_folder, missing_pictures, results_folder
from mgral.labelling.opening import CONFIG, SNAPSHOT, round_folder, usable_label
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project

SHARED = 0.5
"""Fewest labelled images that a compared detector was run on, as a fraction of the most that any was run on."""
Groups = tuple[tuple[int, ...], ...]
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluatedRound:
    """A round whose detector was run on the audit or test set."""

    round: int
    learnt: tuple[Labelled, ...]
    """What its detector learnt from."""
    images: frozenset[int]
    """Images that its detector was run on."""
    today: Mapping[int, int]
    """What its classes are today, by their ids."""
    classes: frozenset[int]
    """Classes of today that it knows."""
    detections: tuple[Entry, ...]
    """COCO results with the classes of today."""
    digest: str
    """SHA-256 of their file."""


@dataclass(frozen=True)
class Audit:
    """The rounds that can be compared, and what they are compared on."""

    rounds: tuple[EvaluatedRound, ...]
    images: tuple[int, ...]
    """Labelled images that all of their detectors were run on, ascending."""
    truth: tuple[Entry, ...]
    """Their boxes: image_id, category_id, bbox."""
    unasked: Mapping[int, frozenset[int]]
    """Classes that an image was not looked through for, of images with some."""
    classes: tuple[int, ...]
    """Classes that all of these rounds know, ascending."""
    groups: Groups
    """Near-copies among the images, in groups of two and more."""
    notes: tuple[str, ...]
    """What is left out, for a person."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that is measured."""
        values = [
            [
                [evaluated.round, evaluated.digest, sorted(evaluated.today.items()), sorted(evaluated.classes)]
                for evaluated in self.rounds
            ],
            [self.images, [*map(dict, self.truth)], self.classes, self.groups],
            sorted((image, sorted(missing)) for image, missing in self.unasked.items()),
        ]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def gather(folder: Path, settings: ProjectSettings, project: Project) -> Audit:
    """Return the rounds of the project in a folder that can be compared on the audit or test set.

    All are compared on the same images: those that are labelled today and that all their detectors were run on. A
    round whose detector was run on less than half as many as another's is left out, as it would take these images
    from the comparison of the others. So is a round of which something is missing or damaged, with a note.
    """
    notes: list[str] = []
    if not any(image.role for image in project.images.values()):
        return Audit((), (), (), {}, (), (), ())
    rounds = [
        evaluated
        for number in sorted(project.rounds)
        if (evaluated := _evaluated_round(folder, project, number, notes))
    ]
    labels = {
        image: label
        for image, state in sorted(project.images.items())
        if state.role and (label := usable_label(project, state, settings.conflicts)) is not None
    }
    rounds = _comparable(rounds, frozenset(labels), notes)
    if not rounds:
        return Audit((), (), (), {}, (), (), tuple(notes))
    images = sorted(frozenset(labels).intersection(*(evaluated.images for evaluated in rounds)))
    if uncounted := labels.keys() - {*images}:
        gone = uncounted & missing_pictures(folder, settings, project)
        reasons = {
            "they are missing": len(gone),
            "they had no usable label, or were missing, when a round was opened": len(uncounted) - len(gone),
        }
        notes += [
            f"{count} of {len(labels)} pictures to measure by are not counted: {reason}"
            for reason, count in reasons.items()
            if count
        ]
    classes = sorted(frozenset(project.classes).intersection(*(evaluated.classes for evaluated in rounds)))
    if late := [project.classes[class_id] for class_id in sorted(rounds[-1].classes - set(classes))]:
        notes.append(f"not in the mean, as earlier rounds did not know them: {', '.join(late)}")
    truth = [
        {"image_id": image, "category_id": box[4], "bbox": [*box[:4]]}
        for image in images
        for box in project.final_boxes(labels[image])
        if box[4] in project.classes
    ]
    unasked = {image: missing for image in images if (missing := project.incomplete(labels[image]))}
    groups = _near_copies(folder, settings, project, rounds, images, notes)
    return Audit(tuple(rounds), tuple(images), tuple(truth), unasked, tuple(classes), groups, tuple(notes))


def _evaluated_round(folder: Path, project: Project, number: int, notes: list[str]) -> EvaluatedRound | None:
    """Return a round that was evaluated; None for one that was not, with a note where it should have been."""
    results = results_folder(folder, number)
    detections, test = detector_folder(folder, number) / "detections.json", results / "dataset" / "test.json"
    try:
        snapshot = load_snapshot(round_folder(folder, number) / SNAPSHOT)
        learnt = complete(snapshot.labelled)
        if not learnt or number not in project.sent:  # it has no detector, or not yet
            return None
        if not complete(snapshot.audit):
            notes.append(f"round {number} has no score: no picture to measure by was labelled when it was opened")
            return None
        today = {class_id: project.class_today(class_id) for class_id, _ in snapshot.classes}
        known_classes = frozenset(today)
        entries = [
            {
                "image_id": int(detection["image_id"]),
                "category_id": today[detection["category_id"]],
                "bbox": [_finite(x), _finite(y), _finite(width), _finite(height)],
                "score": _finite(detection["score"]),
            }
            for detection in read_json(detections)
            for x, y, width, height in [detection["bbox"]]
        ]
        images = frozenset(int(image["id"]) for image in read_json(test)["images"])
        digest = hashlib.sha256(detections.read_bytes()).hexdigest()
    except (InputError, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).split(";")[0] if isinstance(error, InputError) else f"{detections} or {test} is damaged"
        notes.append(
            f"round {number} is left out ({reason}); compute it again: "
            f"{program()} snakemake --cores all --configfile round{number}/{CONFIG}"
        )
        return None
    classes = frozenset(class_id for class_id in project.classes if _knew(project, known_classes, class_id))
    return EvaluatedRound(number, learnt, images, today, classes, tuple(entries), digest)


def _finite(value: object) -> float:
    number = finite(value)
    if number is None:
        raise ValueError(f"{value!r} is no finite number")
    return float(number)


def _knew(project: Project, known_classes: frozenset[int], class_id: int) -> bool:
    """Return whether a detector knew a class of today, or all classes that were merged into it."""
    parts = [old for old, new in project.became.items() if new == (class_id,)]
    return class_id in known_classes or (bool(parts) and all(_knew(project, known_classes, part) for part in parts))


def _comparable(rounds: list[EvaluatedRound], labelled: frozenset[int], notes: list[str]) -> list[EvaluatedRound]:
    """Return the rounds without those that share too few images, or no class, with the others."""
    most = max((len(evaluated.images & labelled) for evaluated in rounds), default=0)
    if not most:
        return []
    comparable = [evaluated for evaluated in rounds if len(evaluated.images & labelled) >= SHARED * most]
    if few := [str(evaluated.round) for evaluated in rounds if evaluated not in comparable]:
        notes.append(
            f"round {', '.join(few)} is left out: when it was opened, fewer than half of {most} pictures to measure "
            "by were labelled, and not missing"
        )
    while comparable and not frozenset.intersection(*(evaluated.classes for evaluated in comparable)):
        notes.append(f"round {comparable[0].round} is left out: it knew other classes than the later ones")
        comparable = comparable[1:]
    return comparable


def _near_copies(
    folder: Path,
    settings: ProjectSettings,
    project: Project,
    rounds: Sequence[EvaluatedRound],
    images: Sequence[int],
    notes: list[str],
) -> Groups:
    """Return groups of near-copies: of one video by their names, or alike by their thumbnails in the latest round."""
    ids = np.array(images, dtype=np.int64)
    if settings.video_names is not None:
        return groups_by_name(ids, [project.files[image] for image in images], settings.video_names)
    number = rounds[-1].round
    dataset = results_folder(folder, number) / "dataset"
    try:
        test_images = [int(image["id"]) for image in read_json(dataset / "test.json")["images"]]
        thumbnails = load_thumbnails(dataset / "test.thumbnails.npy", len(test_images))
        near_copies = load_config(round_folder(folder, number) / CONFIG).near_copies
    except InputError:
        notes.append("near-copies are not known, and each picture counts by itself: intervals may be too narrow")
        return ()
    rows = [test_images.index(image) for image in images]
    return find_groups(ids, np.asarray(thumbnails)[rows], ids[:0], np.asarray(thumbnails)[:0], near_copies).groups
