"""A data set in another format: the same pictures and boxes, and what the format cannot carry."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import yaml

from mgral.artefacts.files import atomic_path
from mgral.compute.progress import tracked
from mgral.config import DataConfig, PictureSettings, ProjectData, SyntheticData, VocData
from mgral.config.data import FolderData
from mgral.data.check import UNLABELLED, Checked
from mgral.data.findings import Findings
from mgral.data.formats import yolo_yaml
from mgral.data.formats.write_coco import write_coco
from mgral.data.formats.write_voc import write_voc
from mgral.data.formats.write_yolo import write_yolo
from mgral.data.paths import PICTURES, link_or_copy
from mgral.data.read import read_splits
from mgral.data.records import Coco
from mgral.errors import InputError, number_of, program

FormatName = Literal["coco", "voc", "yolo"]
Splits = Mapping[str, Coco]


class _Format(NamedTuple):
    write: Callable[[Path, Splits], Counter[str]]
    """Writes what is not a picture into a folder, and counts what is lost."""
    pictures: str
    """Folder of the pictures of a split."""
    suffixes: tuple[str, ...]
    """Of pictures that its reader finds; any, where there is none."""


FORMATS: Mapping[FormatName, _Format] = {
    "coco": _Format(write_coco, "{split}", ("",)),
    "voc": _Format(write_voc, "JPEGImages", PICTURES),
    "yolo": _Format(write_yolo, "images/{split}", yolo_yaml.SUFFIXES),
}


@dataclass(frozen=True)
class Conversion:
    """What was written."""

    images: int
    linked: int
    """Pictures that share their bytes on disk with the original; the others are copies."""
    lost: Counter[str]
    """What the format cannot carry, and how often; a statement that follows a number."""
    findings: Findings
    """What was repaired in the original."""


def convert(data: DataConfig, root: Path, to: FormatName, output: Path) -> Conversion:
    """Write a data set that is configured and in the folder `root` in another format into the folder `output`.

    The pictures are hard links where the file system can, else copies. Beside them is a config.yaml whose section
    `data` reads the new folder. The folder appears completely or not at all.

    Raises
    ------
    InputError
        Where `output` is there already, pictures have no suffix that the format knows, names of classes cannot be
        written, or the data set is faulty.
    StepError
        Where `output` cannot be written.
    """
    if output.exists() or output.is_symlink():
        raise InputError(f"{output} exists already; delete it or name another folder")
    checked, splits = _read(data, root)
    if to == "voc":
        _check_classes(splits)
    names = _names(splits, to)
    lost = _lost_ids(data, splits, to) + _lost_areas(splits, to)
    lost["pictures have another name, as theirs is taken"] = sum(
        PurePosixPath(image["file_name"]).name != names[split][image["id"]]
        for split, coco in splits.items()
        for image in coco["images"]
    )
    with atomic_path(output) as partial:
        linked = _place_pictures(splits, names, root, partial, to)
        lost += FORMATS[to].write(
            partial, {split: _rename_images(coco, names[split]) for split, coco in splits.items()}
        )
        (partial / "config.yaml").write_text(_configuration(data, splits, to, output), encoding="utf-8")
    images = sum(len(coco["images"]) for coco in splits.values())
    return Conversion(images, linked, +lost, checked.findings)


def _read(data: DataConfig, root: Path) -> tuple[Checked, Splits]:
    """Return the checked data set, and its splits with the images that have no labels, which the checks leave out."""
    if isinstance(data, ProjectData):
        raise InputError(
            f"data.format: a round of a project is no data set to convert; see: {program()} project --help"
        )
    checked = read_splits(data, root)
    splits = {"train": checked.train, "test": checked.test}
    if isinstance(data, SyntheticData) or UNLABELLED not in checked.findings.repairs:
        return checked, splits
    if data.unlabelled == "background":
        return checked, splits
    complete = read_splits(data.model_copy(update={"unlabelled": "background"}), root)
    return checked, {
        "train": _mark_unlabelled(complete.train, checked.train),
        "test": _mark_unlabelled(complete.test, checked.test),
    }


def _mark_unlabelled(complete: Coco, labelled: Coco) -> Coco:
    """Return the complete data, in which images that are not among the labelled ones are marked."""
    labelled_ids = {image["id"] for image in labelled["images"]}
    images = complete["images"].copy()
    for index, image in enumerate(images):
        if image["id"] not in labelled_ids:
            images[index] = {**image, "labelled": False}
    return {**complete, "images": images}


def _rename_images(coco: Coco, names: Mapping[int, str]) -> Coco:
    """Return the data with other names of the images, given by id."""
    return {**coco, "images": [{**image, "file_name": names[image["id"]]} for image in coco["images"]]}


def _check_classes(splits: Splits) -> None:
    """Raise InputError where VOC's list of classes, a name a line, or its XML cannot carry the name of a class."""
    for category in splits["train"]["categories"]:
        name = category["name"]
        if name.splitlines() != [name] or any(letter < " " and letter != "\t" for letter in name):
            raise InputError(
                f"the class {name!r} has a line break or a control character in its name, which the format voc "
                "cannot store; rename it"
            )


def _names(splits: Splits, to: FormatName) -> dict[str, dict[int, str]]:
    """Return for each split the names of its pictures without folders, by id.

    A picture keeps its name, unless another one has it, or has it but for the suffix; then its folders become part of
    it.
    """
    names: dict[str, dict[int, str]] = {split: {} for split in splits}
    folders = {split: FORMATS[to].pictures.format(split=split) for split in splits}
    paths = [
        (folders[split], split, image["id"], PurePosixPath(image["file_name"]))
        for split, coco in splits.items()
        for image in coco["images"]
    ]
    unknown = [str(path) for *_, path in paths if not path.name.lower().endswith(FORMATS[to].suffixes)]
    if unknown:
        raise InputError(
            f"{number_of(len(unknown), 'picture has', 'pictures have')} no suffix that the format {to} "
            f"knows, the first being {unknown[0]}; "
            "rename them"
        )
    counts = Counter((folder, path.stem.casefold()) for folder, _, _, path in paths)
    taken = {key for key, count in counts.items() if count == 1}
    for folder, split, number, path in paths:
        name = path
        if counts[folder, path.stem.casefold()] > 1:
            name = PurePosixPath("_".join(path.parts))
            copy = 1
            while (folder, name.stem.casefold()) in taken:
                copy += 1
                name = PurePosixPath("_".join(path.with_suffix("").parts) + f"_{copy}{path.suffix}")
            taken.add((folder, name.stem.casefold()))
        names[split][number] = name.name
    return names


def _lost_ids(data: DataConfig, splits: Splits, to: FormatName) -> Counter[str]:
    """Count the ids that a format does not keep, by the sentence that says it."""
    lost: Counter[str] = Counter()
    if to == "coco":
        return lost
    if data.format in ("coco", "synthetic"):
        lost["images are numbered anew"] = sum(len(coco["images"]) for coco in splits.values())
        lost["boxes are numbered anew"] = sum(len(coco["annotations"]) for coco in splits.values())
    classes = [(category["id"], category["name"]) for category in splits["train"]["categories"]]
    names = [name for _, name in classes]
    numbered = list(enumerate(names) if to == "yolo" else enumerate(sorted(names), start=1))
    lost["classes have another id"] = len({*classes} - {*numbered})
    return lost


def _lost_areas(splits: Splits, to: FormatName) -> Counter[str]:
    """Count the boxes whose area is that of a mask, which decides how large an object is for COCO's scores."""
    if to == "coco":
        return Counter()
    count = 0
    for annotation in (annotation for coco in splits.values() for annotation in coco["annotations"]):
        _, _, width, height = annotation["bbox"]
        # Annotation files round sides to 0.01 and less.
        count += abs(annotation.get("area", width * height) - width * height) > 0.01 * (width + height + 1)
    return Counter({"boxes have an area of their own, as of a mask, which is left out": count})


def _place_pictures(
    splits: Splits, names: Mapping[str, Mapping[int, str]], root: Path, output: Path, to: FormatName
) -> int:
    """Link or copy the pictures, and return how many are linked."""
    linked = 0
    for split, coco in splits.items():
        folder = output / FORMATS[to].pictures.format(split=split)
        folder.mkdir(parents=True, exist_ok=True)
        for image in tracked(coco["images"], f"pictures {split}", len(coco["images"]), "image"):
            linked += link_or_copy(root / image["file_name"], folder / names[split][image["id"]])
    return linked


def _configuration(data: DataConfig, splits: Splits, to: FormatName, output: Path) -> str:
    """Return the settings that read the new folder, with those of the original that still say something."""
    section: dict[str, Any] = {"format": to, "root": str(output.absolute())}
    if isinstance(data, FolderData):
        if data.classes is not None:
            section["classes"] = list(data.classes)
        defaults = PictureSettings()
        for key in PictureSettings.model_fields:  # of the pictures, which are the same
            if getattr(data, key) != getattr(defaults, key):
                section[key] = getattr(data, key)
    if isinstance(data, VocData) and to == "voc":
        section |= {key: True for key in ("train_difficult", "test_difficult") if getattr(data, key)}
    images = [image for coco in splits.values() for image in coco["images"]]
    if to == "coco" and not all(image.get("labelled", True) for image in images):
        section["unlabelled"] = "leave_out"
    experiment = re.sub(r"[^A-Za-z0-9_.-]", "_", output.absolute().name).lstrip("_.-") or "converted"
    return yaml.safe_dump({"experiment": experiment, "data": section}, sort_keys=False, allow_unicode=True)
