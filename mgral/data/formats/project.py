"""A round of a project as a data set: its labelled images and pool to train on, its audit set to test on."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mgral.config import ProjectData
from mgral.data.findings import Finding, Findings
from mgral.data.formats.snapshot import PICTURES, Labelled, Picture, Snapshot, load_chunk, load_snapshot
from mgral.data.records import Annotation, CategoryRecord, Coco, Image

INCOMPLETE = Finding(
    "labelled images were not looked through for a class that came later",
    "left out of training and evaluation until somebody has looked again",
)
UNKNOWN = Finding("images of the snapshot are in none of its chunks", "restore the file from a copy or from Git")
NO_CLASS = Finding("boxes are of no class of the snapshot", "restore the file from a copy or from Git")
NOTHING = Finding("rounds have no image to learn from and none to choose", "add pictures to the project")


@dataclass(frozen=True)
class Round:
    """The images of a round."""

    train: Coco
    """Labelled images with their boxes, and the pool."""
    test: Coco
    """Images of the audit set."""
    labelled: tuple[int, ...]
    """Ids of the labelled images, ascending."""


def project_folder(data: ProjectData) -> Path:
    """Return the folder of the project, to which all paths in it are relative."""
    return Path(data.snapshot).parent.parent


def chunk_path(data: ProjectData, digest: str) -> Path:
    """Return the file that lists the pictures of a chunk."""
    return project_folder(data) / PICTURES / f"{digest}.json"


def snapshot_of(data: ProjectData) -> Snapshot:
    """Read the snapshot of a round; raises InputError as `load_snapshot`."""
    return load_snapshot(Path(data.snapshot))


def complete(images: Iterable[Labelled]) -> tuple[Labelled, ...]:
    """Return the images that are looked through for every class, and so can be learnt from and scored on."""
    return tuple(image for image in images if not image.incomplete)


def read_round(data: ProjectData, findings: Findings) -> Round:
    """Read the snapshot and the chunks of a round, noting what is wrong with them and what is left out.

    Images that were not looked through for a class are left out of training, test set and pool, as they would count
    as background for that class.
    """
    snapshot = snapshot_of(data)
    pictures = {picture.id: picture for name in snapshot.chunks for picture in load_chunk(chunk_path(data, name))}
    labelled, audit = complete(snapshot.labelled), complete(snapshot.audit)
    spoken_for = {image.id for image in (*snapshot.labelled, *snapshot.audit)} | set(snapshot.left_out)
    for image_id in sorted(spoken_for - pictures.keys()):
        findings.fault(UNKNOWN, f"{data.snapshot}: image {image_id}")
    for labelled_image in (*snapshot.labelled, *snapshot.audit):
        if labelled_image.incomplete and labelled_image.id in pictures:
            findings.repair(INCOMPLETE, pictures[labelled_image.id].file)
    labelled_ids = {image.id for image in labelled}
    train_pictures = [
        pictures[image_id] for image_id in sorted(pictures) if image_id in labelled_ids or image_id not in spoken_for
    ]
    test_pictures = [pictures[image.id] for image in audit if image.id in pictures]
    if not train_pictures:
        findings.fault(NOTHING, data.snapshot)
    return Round(
        _to_coco(train_pictures, labelled, snapshot, data, findings),
        _to_coco(test_pictures, audit, snapshot, data, findings),
        tuple(image.id for image in labelled),
    )


def _to_coco(
    pictures: Iterable[Picture],
    labelled: Iterable[Labelled],
    snapshot: Snapshot,
    data: ProjectData,
    findings: Findings,
) -> Coco:
    """Return pictures and the boxes of the labelled ones as COCO JSON."""
    classes = dict(snapshot.classes)
    annotations: list[Annotation] = []
    for image in labelled:
        for *box, label in image.boxes:
            if label not in classes:
                findings.fault(NO_CLASS, f"{data.snapshot}: image {image.id}, class {label}")
            annotations.append(
                Annotation(
                    id=len(annotations) + 1,
                    image_id=image.id,
                    category_id=int(label),
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=0,
                )
            )
    return Coco(
        images=[
            Image(id=picture.id, file_name=picture.file, width=picture.width, height=picture.height)
            for picture in pictures
        ],
        annotations=annotations,
        categories=[CategoryRecord(id=number, name=name) for number, name in snapshot.classes],
    )
