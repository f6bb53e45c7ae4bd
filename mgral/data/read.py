"""Reading a data set: where it is and which reader it takes."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mgral.artefacts.files import read_json
from mgral.config import CocoData, Config, DataConfig, DiskData, PictureSettings, ProjectData, SyntheticData
from mgral.data.cache import SplitFiles, cache_splits
from mgral.data.check import Checked, check_splits, with_boxes
from mgral.data.dataset import as_dataset
from mgral.data.derive import derive_from_images
from mgral.data.findings import Findings
from mgral.data.formats.coco import read_coco
from mgral.data.formats.project import project_folder, read_round
from mgral.data.formats.voc import read_lists, read_voc
from mgral.data.formats.yolo import read_yolo
from mgral.data.formats.yolo_yaml import read_listing
from mgral.data.image_set import ImageSet
from mgral.data.images import load_images
from mgral.data.records import Split
from mgral.data.synthetic import write_synthetic
from mgral.errors import InputError

QUICK_BYTES = 50_000_000
"""Largest COCO JSON in bytes that is read to count images before the first job; it takes a second or less."""


def data_folder(data: DataConfig, root: Path | None) -> Path:
    """Return the folder of the data set: `root`, where it is given, in place of the configured one.

    For a round of a project it is the project's folder; its pictures are elsewhere (`mgral.data.pictures`).
    """
    if isinstance(data, ProjectData):
        return project_folder(data)
    if root is None:
        if isinstance(data, SyntheticData):
            raise InputError("synthetic data has no configured folder; pass --root, the folder made by `synthesize`")
        root = Path(data.root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such data folder; correct `data.root` or --root, or run the step `download` (again), which "
            "the workflow does where dataset/download.json is not there"
        )
    return root


def listing_files(data: DataConfig, root: Path) -> list[Path]:
    """Return the files in the folder `root` that list the images, of COCO, YOLO, or a round of a project."""
    if isinstance(data, ProjectData):
        return [Path(data.snapshot)]
    disk = _on_disk(data, root)
    if disk.format == "coco":
        return [root / disk.train_annotations, root / disk.test_annotations]
    return [root / disk.data_yaml] if disk.format == "yolo" else []


def count_listed(data: DiskData) -> int | None:
    """Return how many training images a data set lists; checks may leave some out.

    None where that takes long to know or cannot be known, as before a download, or where something is wrong, which
    `read_splits` says.
    """
    root, findings = Path(data.root), Findings()
    try:
        if data.format == "coco":
            path = root / data.train_annotations
            count = len(read_json(path)["images"]) if path.stat().st_size <= QUICK_BYTES else 0
        elif data.format == "voc":
            count = len(read_lists(root, data.train_split, findings))
        else:
            count = len(set(read_listing(root, data, findings).train))
    except (InputError, OSError, KeyError, TypeError):
        return None
    return None if findings.faults or not count else count


def read_splits(data: DataConfig, root: Path) -> Checked:
    """Read and check the training and the test images of a data set in the folder `root`.

    Raises
    ------
    FaultyDataError
        With everything that is wrong.
    """
    findings = Findings()
    if isinstance(data, ProjectData):
        project_round = read_round(data, findings)
        findings.raise_faults("the round")
        return Checked(project_round.train, project_round.test, findings, project_round.labelled)
    disk = _on_disk(data, root)
    train, test = _read_format(disk, root, findings)
    if isinstance(data, SyntheticData):
        for image in (*train.coco["images"], *test.coco["images"]):
            image["labelled"] = True  # also those that were drawn without objects
    checked = check_splits(train, test, root, disk, findings)
    if isinstance(data, CocoData) and data.pool == "with_boxes":
        return replace(checked, train=with_boxes(checked.train))
    return checked


def _on_disk(data: SyntheticData | DiskData, root: Path) -> DiskData:
    """Return the settings with which a data set is read; synthetic data lies there in COCO format."""
    return CocoData(format="coco", root=str(root), strict=data.strict) if isinstance(data, SyntheticData) else data


def _read_format(data: DiskData, root: Path, findings: Findings) -> tuple[Split, Split]:
    """Read the training and the test images by the reader of their format."""
    if data.format == "coco":
        return read_coco(root, data, findings)
    if data.format == "voc":
        return read_voc(root, data, findings)
    return read_yolo(root, data, findings)


def read_data(config: Config, cache: Path | str) -> tuple[ImageSet, ImageSet]:
    """Read and check a data set in COCO, VOC or YOLO format, or draw a synthetic one, and decode its images.

    Parameters
    ----------
    config
        `data` says where the data set is, `detector` at which size its images are needed; null is derived.
    cache
        Folder for the decoded images; train.npy, test.npy and their thumbnails in it are replaced. Synthetic data is
        drawn into it.

    Returns
    -------
    The images that can be labelled, and the test images.

    Raises
    ------
    InputError
        Where the data set is not in order; a message says what to do.
    """
    cache = Path(cache)
    if isinstance(config.data, ProjectData):
        raise InputError("data.format: a round of a project is read by snakemake only; run it, and load its files")
    root = None
    if isinstance(config.data, SyntheticData):
        root = cache / "synthetic"
        if not root.exists():
            write_synthetic(config.data, root)
    folder = data_folder(config.data, root)
    checked = read_splits(config.data, folder)
    contents = {"train": checked.train, "test": checked.test}
    splits = [
        SplitFiles(name, as_dataset(coco), cache / f"{name}.npy", cache / f"{name}.thumbnails.npy")
        for name, coco in contents.items()
    ]
    sizes = np.concatenate([split.dataset.sizes for split in splits])
    canvas = config.with_derived(derive_from_images(config, sizes)).detector.image_canvas
    settings = config.data if isinstance(config.data, PictureSettings) else PictureSettings()
    cache_splits(splits, folder, canvas, settings, config.detector.caches_files)
    train, test = (
        ImageSet(split.dataset, load_images(split.images, split.dataset, canvas), contents[split.name])
        for split in splits
    )
    return train, test
