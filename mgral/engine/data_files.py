"""The files of a data set on disk that jobs depend on, as the Snakefile needs to know them before there are jobs."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from mgral.config import CocoData, Config, ProjectData, VocData, YoloData, download_of
from mgral.data.formats.project import chunk_path, complete, snapshot_of
from mgral.data.formats.voc import layout_folder, list_file
from mgral.data.paths import files_below


def annotation_files(config: Config) -> list[str]:
    """Return the files of a data set on disk that name its images.

    They are two COCO JSON, VOC's lists, a data.yaml, or a round's snapshot with the lists of its pictures.
    """
    data = config.data
    if isinstance(data, CocoData):
        return [f"{data.root}/{name}" for name in (data.train_annotations, data.test_annotations)]
    if isinstance(data, VocData):
        return [str(list_file(Path(data.root), split)) for split in (*data.train_split, *data.test_split)]
    if isinstance(data, YoloData):
        return [f"{data.root}/{data.data_yaml}"]
    if isinstance(data, ProjectData):
        return [data.snapshot, *(str(chunk_path(data, digest)) for digest in snapshot_of(data).chunks)]
    return []


class RoundData(NamedTuple):
    """What the rules need to know of a round of a project before there are jobs."""

    chunks: tuple[str, ...]
    """Digests of the chunks of its pictures."""
    labelled: bool
    """Whether an image is labelled; else there is no detector."""
    audit: bool
    """Whether an image of the audit set is, so that there are scores."""
    controls: int
    """Images of its batch that are drawn at random."""


def round_data(config: Config) -> RoundData | None:
    """Return what the snapshot of a round contains; None for a benchmark."""
    if not isinstance(config.data, ProjectData):
        return None
    snapshot = snapshot_of(config.data)
    labelled, audit = complete(snapshot.labelled), complete(snapshot.audit)
    return RoundData(snapshot.chunks, bool(labelled), bool(audit), snapshot.controls)


def label_folders(config: Config) -> list[str]:
    """Return the folders of a data set on disk whose files the step `data` lists: of YOLO its pictures too."""
    data = config.data
    if isinstance(data, YoloData):
        return [data.root]
    if not isinstance(data, VocData):
        return []
    layouts = {layout_folder(Path(data.root), split): None for split in (*data.train_split, *data.test_split)}
    return [str(layout / "Annotations") for layout in layouts]


def label_state(config: Config) -> str:
    """Return a text that changes with any file in `label_folders`, by names, sizes and times of change.

    A parameter of the rule that reads them, as Snakemake does not look into folders. Data sets that are downloaded
    do not change.
    """
    if downloads(config):
        return ""
    state = hashlib.sha256()
    for folder in label_folders(config):
        for path in files_below(Path(folder)):
            status = path.stat()
            state.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return state.hexdigest() if label_folders(config) else ""


def downloads(config: Config) -> bool:
    """Return whether `data.download` names a public data set, whether it is on the disk or not."""
    return download_of(config.data) is not None
