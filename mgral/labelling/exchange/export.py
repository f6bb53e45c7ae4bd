"""The labelled set of a project in the formats that others train on."""

import math
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from mgral.artefacts.files import atomic_path
from mgral.compute.progress import tracked
from mgral.data.check import ROUNDING
from mgral.data.convert import FORMATS, FormatName
from mgral.data.findings import Finding, Findings
from mgral.data.formats.write_coco import write_coco
from mgral.data.formats.write_voc import write_voc
from mgral.data.formats.write_yolo import write_yolo
from mgral.data.paths import link_or_copy
from mgral.data.records import Annotation, CategoryRecord, Coco, Image
from mgral.errors import InputError
from mgral.labelling.records import Box

Pictures = Literal["link", "copy", "none"]

UNKNOWN_CLASS = Finding("boxes have a class that is none of the project", "correct it, or add the class")
NOT_FINITE = Finding(
    "boxes are not finite numbers, or have negative sides", "do not use the detector that found them"
)
BEYOND = Finding(
    "boxes lie beyond their picture", "cut them at its border, or use the detector on the right pictures"
)
BAD_NAME = Finding("names have slashes or characters that cannot be shown", "rename them")
SAME_NAME = Finding("pictures have the same name", "give each a name of its own")
SAME_STEM = Finding(
    "pictures have the same name but for the suffix, and so the same label file", "give each a name of its own"
)
NO_SUFFIX = Finding("pictures have no suffix that the format knows", "rename them")


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and its boxes, as they are written."""

    id: int
    """Number of the image in the project."""
    path: Path
    """Its file on this machine."""
    name: str
    """The name that it gets, unique, without folders."""
    width: int
    height: int
    """Size of the upright picture, in pixels."""
    boxes: tuple[Box, ...]


def export_labels(
    format: FormatName,
    folder: Path,
    images: Sequence[LabelledPicture],
    classes: Sequence[str],
    *,
    audit: Sequence[LabelledPicture] = (),
    pictures: Pictures = "link",
) -> Counter[str]:
    """Write confirmed labels, images without objects included, into a folder, which appears completely or not at all.

    COCO: annotations/instances_{train,test}.json, pictures in train/ and test/. YOLO: data.yaml, train.txt and
    test.txt, which list the pictures, labels/ and images/. VOC: Annotations/, ImageSets/Main/, labels.txt and
    JPEGImages/.

    Parameters
    ----------
    images
        The training images.
    classes
        Names, in the order of the project: from 1 in COCO, from 0 in YOLO.
    audit
        Images to evaluate on, a split `test`, in YOLO `val` too.
    pictures
        `link`: hard links, or copies where links are impossible. `copy`: always copies. `none`: no pictures.

    Returns
    -------
    What the format cannot store, as statements that follow a number, and how often.

    Raises
    ------
    InputError
        Where the folder contains something, or boxes, names or classes cannot be written, naming them.
    StepError
        Where the folder cannot be written.
    """
    refuse_filled(folder)
    splits = {"train": images, **({"test": audit} if audit else {})}
    # VOC's pictures are all in one folder.
    for group in [[*images, *audit]] if format == "voc" else splits.values():
        find_faults(group, classes, format).raise_faults("the labelled set", "")
    cocos = {split: as_coco(split_images, classes) for split, split_images in splits.items()}
    with atomic_path(folder) as partial:
        partial.mkdir()
        for split, split_images in splits.items() if pictures != "none" else ():
            picture_folder = partial / FORMATS[format].pictures.format(split=split)
            picture_folder.mkdir(parents=True, exist_ok=True)
            for image in tracked(split_images, f"pictures {split}", len(split_images), "image"):
                (link_or_copy if pictures == "link" else shutil.copyfile)(image.path, picture_folder / image.name)
        if format == "yolo":
            return +write_yolo(partial, cocos, listed=True)
        return +(write_coco if format == "coco" else write_voc)(partial, cocos)


def refuse_filled(folder: Path) -> None:
    """Raise InputError where a folder is there and contains something."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder} exists already; delete it or name another folder")


def find_faults(pictures: Iterable[LabelledPicture], classes: Sequence[str], format: FormatName | None) -> Findings:
    """Return the faults because of which pictures in one folder cannot be written in a format.

    None stands for Label Studio and CVAT, which take pictures with any suffix.
    """
    findings = Findings()
    pictures = list(pictures)
    by_stem, suffixes = format in ("yolo", "voc"), FORMATS[format].suffixes if format else ("",)
    names = Counter(picture.name.casefold() for picture in pictures)
    stems = Counter(PurePosixPath(picture.name).stem.casefold() for picture in pictures)
    for name in classes:
        if not name.strip() or not name.isprintable():
            findings.fault(BAD_NAME, f"class {name!r}")
    for picture in pictures:
        if not picture.name.strip(".") or not picture.name.isprintable() or {"/", "\\"} & set(picture.name):
            findings.fault(BAD_NAME, picture.name)
        if names[picture.name.casefold()] > 1:
            findings.fault(SAME_NAME, f"{picture.name} ({picture.path})")
        elif by_stem and stems[PurePosixPath(picture.name).stem.casefold()] > 1:
            findings.fault(SAME_STEM, f"{picture.name} ({picture.path})")
        if not picture.name.lower().endswith(suffixes):
            findings.fault(NO_SUFFIX, picture.name)
        for box in picture.boxes:
            description = f"{picture.name}: {box.label} " + " ".join(f"{value:g}" for value in box[:4])
            if box.label not in classes:
                findings.fault(UNKNOWN_CLASS, description)
            if not all(map(math.isfinite, box[:4])) or box.width < 0 or box.height < 0:
                findings.fault(NOT_FINITE, description)
            elif _overhang(box, picture.width, picture.height) > ROUNDING:
                findings.fault(BEYOND, f"{description} in {picture.width} x {picture.height}")
    return findings


def _overhang(box: Box, width: int, height: int) -> float:
    """Return by how many pixels a box leaves its picture, at the side where it does so most."""
    return max(-box.x, -box.y, box.x + box.width - width, box.y + box.height - height)


def cut_to(box: Box, width: int, height: int) -> Box | None:
    """Return a box cut to its picture; None where no area is left."""
    left, top = max(box.x, 0.0), max(box.y, 0.0)
    right, bottom = min(box.x + box.width, width), min(box.y + box.height, height)
    return Box(left, top, right - left, bottom - top, box.label) if right > left and bottom > top else None


def with_cut_boxes(picture: LabelledPicture) -> LabelledPicture:
    """Return a checked picture with its boxes cut to it."""
    boxes = (cut_to(box, picture.width, picture.height) for box in picture.boxes)
    return replace(picture, boxes=tuple(box for box in boxes if box))


def as_coco(pictures: Iterable[LabelledPicture], classes: Sequence[str]) -> Coco:
    """Return checked pictures and their boxes in the internal form; classes have ids from 1."""
    ids = {name: number for number, name in enumerate(classes, start=1)}
    coco = Coco(
        images=[], annotations=[], categories=[CategoryRecord(id=number, name=name) for name, number in ids.items()]
    )
    for picture in map(with_cut_boxes, pictures):
        coco["images"].append(
            Image(id=picture.id, file_name=picture.name, width=picture.width, height=picture.height)
        )
        for box in picture.boxes:
            coco["annotations"].append(
                Annotation(
                    id=len(coco["annotations"]) + 1,
                    image_id=picture.id,
                    category_id=ids[box.label],
                    bbox=list(box[:4]),
                    area=box.width * box.height,
                    iscrowd=0,
                )
            )
    return coco
