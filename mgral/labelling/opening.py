"""A round is opened: its snapshot, which never changes, and the configuration of its experiment."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mgral.artefacts.files import atomic_path, dump_json, write_bytes
from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, config_yaml, resolve_config
from mgral.config.reading import read_values
from mgral.data.derive import derive_from_images
from mgral.data.formats.project import complete
from mgral.data.formats.snapshot import (
    CHUNK,
    PICTURES,
    Labelled,
    Picture,
    Snapshot,
    chunk_digest,
    chunk_json,
    load_chunk,
    load_snapshot,
)
from mgral.errors import InputError, program
from mgral.labelling.importing import disagreeing
from mgral.labelling.records import CONFIRMED
from mgral.labelling.settings import FILE, ProjectSettings, audit_size
from mgral.labelling.state import ImageState, Label, Project

SNAPSHOT, CONFIG = "snapshot.json", "config.yaml"
COLD = "typiclust"
"""Strategy of a round without labels: it covers the pool by features of the pre-trained backbone."""


def round_folder(folder: Path, number: int) -> Path:
    """Return the folder of a round of the project in `folder`."""
    return folder / f"round{number}"


def draw_audit(settings: ProjectSettings, project: Project, missing: set[int]) -> list[int]:
    """Draw the audit set from the pictures that nobody was asked to label, and return its numbers, ascending.

    The draw is uniform and without replacement, without missing pictures. Nothing is drawn if there is a test set, or
    an audit set already. The draw depends only on the numbers of these pictures and on how many are drawn.
    """
    if any(image.role for image in project.images.values()):
        return []
    candidates = {number for number, image in project.images.items() if image.state == "untouched"} - missing
    count = min(audit_size(settings, len(project.images)), len(candidates))
    rng = np.random.default_rng(derive_seed(0, "audit"))
    return sorted(map(int, rng.choice(sorted(candidates), count, replace=False)))


def usable_label(project: Project, image: ImageState, conflicts: str) -> Label | None:
    """Return the label of an image that a round may use, if there is one."""
    if image.state not in CONFIRMED:
        return None
    if conflicts == "leave_out" and disagreeing(image, project):
        return None
    return image.confirmed


def make_snapshot(
    settings: ProjectSettings, project: Project, number: int, chunks: Iterable[str], missing: Iterable[int] = ()
) -> Snapshot:
    """Return the snapshot of a round that is opened now.

    Parameters
    ----------
    number
        Number of the round; 0 for an experiment that is no round.
    chunks
        Digests of the chunks of all pictures.
    missing
        Pictures that are in no folder now.
    """
    labels = {
        image: label
        for image, state in sorted(project.images.items())
        if (label := usable_label(project, state, settings.conflicts)) is not None
    }
    missing_images = set(missing)
    training_labels = [
        label for image, label in labels.items() if not project.images[image].role and image not in missing_images
    ]
    waiting = waiting_classes(project, training_labels)
    labelled: list[Labelled] = []
    audit: list[Labelled] = []
    left_out: list[int] = []
    for image, state in sorted(project.images.items()):
        if image not in labels or image in missing_images:
            if state.role or state.state != "untouched" or image in missing_images:
                left_out.append(image)
            continue
        boxes = tuple(box for box in project.final_boxes(labels[image]) if box[4] not in waiting)
        if any(box[4] not in project.classes for box in boxes):  # of a split class: nobody knows yet which it is
            left_out.append(image)
            continue
        labelled_image = Labelled(image, boxes, tuple(sorted(project.incomplete(labels[image]) - waiting)))
        (audit if state.role else labelled).append(labelled_image)
    return Snapshot(
        project=project.id,
        round=number,
        chunks=tuple(chunks),
        classes=tuple(
            (class_id, name) for class_id, name in sorted(project.classes.items()) if class_id not in waiting
        ),
        labelled=tuple(labelled),
        audit=tuple(audit),
        left_out=tuple(left_out),
    )


def waiting_classes(project: Project, labels: Sequence[Label]) -> frozenset[int]:
    """Return the ids of classes that a detector does not learn yet: most labelled images were not checked for them.

    Until half of the images are checked for a class, the detector learns the other classes from all images. From then
    on it learns this class too, and images that were not checked for it are left out. So a new class never makes the
    existing labels worthless.

    Parameters
    ----------
    labels
        The usable labels of images to train on.
    """
    missing = Counter(class_id for label in labels for class_id in project.incomplete(label))
    return frozenset(class_id for class_id, count in missing.items() if 2 * count > len(labels))


def write_chunks(folder: Path, project: Project) -> list[str]:
    """Write the chunks of pictures that are in none yet, and return the digests of all, in order."""
    digests, listed = _known_chunks(folder, project)
    new_pictures = [picture for number, picture in sorted(project.pictures.items()) if number not in listed]
    for start in range(0, len(new_pictures), CHUNK):
        digests.append(_write_chunk(folder, new_pictures[start : start + CHUNK]))
    return digests


def _known_chunks(folder: Path, project: Project) -> tuple[list[str], set[int]]:
    """Return the chunks of the latest round, and the numbers of their pictures."""
    if not project.rounds:
        return [], set()
    latest = load_snapshot(round_folder(folder, max(project.rounds)) / SNAPSHOT)
    listed = {picture.id for digest in latest.chunks for picture in load_chunk(folder / PICTURES / f"{digest}.json")}
    return list(latest.chunks), listed


def _write_chunk(folder: Path, pictures: list[Picture]) -> str:
    """Write a chunk of pictures, unless it is there, and return its digest."""
    content = chunk_json(pictures)
    digest = chunk_digest(content)
    path = folder / PICTURES / f"{digest}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, content)
    return digest


def round_config(folder: Path, settings: ProjectSettings, project: Project, snapshot: Snapshot) -> Config:
    """Return the configuration of a round's experiment, with everything that must not change later filled in."""
    return _with_input_size(
        folder, project, planned_config(settings, snapshot.round, len(complete(snapshot.labelled)))
    )


def comparing_config(
    folder: Path, settings: ProjectSettings, project: Project, snapshot: Snapshot, name: str
) -> Config:
    """Return the configuration of an experiment that trains a detector for each entry of `snapshot.without`.

    Parameters
    ----------
    name
        Name of the experiment, and of its folder in the project's folder.
    """
    image_count = len(complete(snapshot.labelled)) - max(map(len, snapshot.without))
    values = {
        **_values(settings, name, image_count),
        "seeds": [*range(len(snapshot.without))],
        "strategies": ["random"],
    }
    return _with_input_size(folder, project, resolve_config(values))


def _with_input_size(folder: Path, project: Project, config: Config) -> Config:
    """Return a configuration with the input size of the project's detectors, see `frozen_size`, where it is open."""
    if "width" in config.detector.open_keys:
        config = config.with_derived(frozen_size(folder, config, project))
    return config


def planned_config(settings: ProjectSettings, number: int, image_count: int) -> Config:
    """Return the configuration of a round, given how many labelled images there are to learn from.

    Its input size may be open. Raises InputError as `resolve_config` does.
    """
    strategies = [settings.strategy if image_count else COLD]
    values = _values(settings, f"round{number}", image_count)
    try:
        return resolve_config({**values, "seeds": [number], "strategies": strategies})
    except InputError as error:
        if "strategies: " not in str(error):
            raise
        raise InputError(f"{error}; in {FILE}, `strategy: sqrt_counts_per_box` works with every detector") from None


def _values(settings: ProjectSettings, name: str, image_count: int) -> dict[str, Any]:
    """Return the settings that all experiments of a project share, given how many images there are to learn from."""
    values: dict[str, Any] = {
        **settings.settings,
        "experiment": name,
        "cycles": 1,
        "initial": max(1, image_count),
        "budget": settings.batch,
        "data": {
            "format": "project",
            "snapshot": f"{name}/{SNAPSHOT}",
            **settings.decoding.model_dump(),
        },
    }
    if settings.video_names is not None and isinstance(copies := values.get("near_copies", {}), dict):
        values["near_copies"] = {**copies, "pattern": settings.video_names}
    return values


def check_config(folder: Path, settings: ProjectSettings, project: Project) -> None:
    """Raise InputError where project.yaml asks for a configuration that does not exist."""
    number = max(project.rounds, default=0) + 1
    try:
        planned_config(settings, number, 1)
    except InputError as error:
        raise InputError(f"{folder / FILE} (`strategy`, `video_names` and `settings`): {error}") from None


def check_exif(folder: Path, settings: ProjectSettings, project: Project) -> None:
    """Raise InputError where project.yaml asks for other rotations of the pictures than before."""
    exif = project.exif
    if not exif and project.rounds:
        exif = read_values(round_folder(folder, min(project.rounds)) / CONFIG)["data"]["exif"]
    if exif and exif != settings.exif:
        raise InputError(
            f"{folder / FILE}: `exif` was {exif} before, and all sizes and boxes are of pictures turned so; set it "
            f"back, or make a new project with `{program()} project init --exif {settings.exif}`"
        )


def frozen_size(folder: Path, config: Config, project: Project) -> dict[str, dict[str, Any]]:
    """Return the input size of earlier rounds; in the first, or for another detector, derive it from the pictures."""
    if project.rounds:
        path = round_folder(folder, min(project.rounds)) / CONFIG
        detector = yaml.safe_load(path.read_text("utf-8"))["detector"]
        if detector.get("name") == config.detector.name and detector.get("width"):
            return {"detector": {key: detector[key] for key in ("width", "height")}}
    sizes = np.array([(picture.width, picture.height) for picture in project.pictures.values()], dtype=np.int64)
    return derive_from_images(config, sizes)


def write_round(folder: Path, snapshot: Snapshot, config: Config) -> str:
    """Write the folder of a round, which appears completely, and return the digest of its snapshot."""
    write_experiment(round_folder(folder, snapshot.round), snapshot, config)
    return snapshot_digest(folder, snapshot.round)


def write_experiment(target: Path, snapshot: Snapshot, config: Config) -> None:
    """Write the snapshot and configuration of an experiment into a new folder, which appears completely."""
    with atomic_path(target) as partial:
        partial.mkdir()
        dump_json(partial / SNAPSHOT, snapshot.as_json())
        (partial / CONFIG).write_bytes(config_yaml(config))
        for path in (partial / SNAPSHOT, partial / CONFIG):
            with path.open("rb") as file:
                os.fsync(file.fileno())


def snapshot_digest(folder: Path, number: int) -> str:
    """Return the SHA-256 of a round's snapshot and configuration; raises InputError where one is not there."""
    digest = hashlib.sha256()
    for name in (SNAPSHOT, CONFIG):
        path = round_folder(folder, number) / name
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; restore it from a copy or from Git") from None
    return digest.hexdigest()


def check_rounds(folder: Path, project: Project) -> None:
    """Raise InputError where the snapshot or the configuration of a round was altered."""
    altered = [str(number) for number, digest in project.rounds.items() if snapshot_digest(folder, number) != digest]
    if altered:
        raise InputError(
            f"the snapshot or config.yaml of round {', '.join(altered)} was altered; restore it from a copy or "
            "from Git, because later rounds are compared with it"
        )
