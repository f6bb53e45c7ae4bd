"""Pixels of a project's pictures, cached once for all rounds in chunks; each round has an index into the chunks."""

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mgral.artefacts.files import atomic_path, dump_json, read_json, write_json
from mgral.artefacts.integrity import CANVAS
from mgral.config import Config, PictureSettings
from mgral.config.canvas import Canvas
from mgral.data.cache import PictureFile, SplitFiles, cache_splits
from mgral.data.dataset import Dataset
from mgral.data.findings import Finding, Findings
from mgral.data.formats.snapshot import Picture, Snapshot, load_chunk
from mgral.data.images import write_index
from mgral.data.pictures import load_places
from mgral.data.thumbnails import load_thumbnails
from mgral.errors import program

GONE = Finding(
    "pictures are gone, and the round needs them",
    f"put them back, run `{program()} project scan`, and delete the files of their chunk, which is named with each",
)


class ChunkFiles(NamedTuple):
    """The files of a chunk in a folder of pixels."""

    pixels: Path
    """uint8 [n, height, width, 3]; or packed files, uint8 [bytes], see `mgral.data.images.packed_head`."""
    thumbnails: Path
    """Grey, uint8 [n, 24, 24]."""
    gone: Path
    """JSON: ids of pictures that were gone for good, whose rows are 0."""

    @classmethod
    def of(cls, folder: Path, digest: str) -> "ChunkFiles":
        """Return the files of the chunk with this digest."""
        return cls(*(folder / f"{digest}{ending}" for ending in (".npy", ".thumbnails.npy", ".json")))


class PixelSettings(NamedTuple):
    """Settings that determine the pixels of pictures, and which pictures are refused."""

    width: int
    height: int
    placement: Literal["stretch", "shrink", "fit"]
    encoded: bool
    """Whether files are kept, not pixels."""
    pictures: PictureSettings

    @classmethod
    def of(cls, config: Config) -> "PixelSettings":
        """Return the settings of a round of a project."""
        canvas, data = config.detector.image_canvas, config.data
        pictures = PictureSettings(**data.model_dump(include=set(PictureSettings.model_fields)))
        return cls(canvas.width, canvas.height, canvas.placement, config.detector.caches_files, pictures)

    @property
    def folder(self) -> str:
        """Name of the folder of pixels, which all rounds with these settings share."""
        size = ["encoded"] if self.encoded else [f"{self.width}x{self.height}", self.placement]
        return "-".join([*size, f"exif_{self.pictures.exif}", f"deep_{self.pictures.deep_grey}"])

    @property
    def options(self) -> str:
        """The settings as options of the command `mgral pictures`."""
        pictures = self.pictures
        size_options = f"--width {self.width} --height {self.height} --placement {self.placement}"
        file_options = f"--exif {pictures.exif} --deep-grey {pictures.deep_grey} --max-pixels {pictures.max_pixels}"
        return f"{size_options} {file_options}{' --encoded' if self.encoded else ''}"


def cache_chunk(chunk: Path, settings: PixelSettings, output: ChunkFiles, threads: int = 1) -> Findings:
    """Write the pixels and thumbnails of a chunk of a project, and return what was repaired.

    Parameters
    ----------
    chunk
        `pictures/<digest>.json` in the project's folder, where `mgral.data.pictures` looks for the pictures.

    Raises
    ------
    FaultyDataError
        With all pictures that are missing, or other than they were, or cannot be read; then nothing is written.
    """
    pictures, places = load_chunk(chunk), load_places(chunk.parent.parent)
    paths = [places.path(picture.id, picture.file) for picture in pictures]
    split = SplitFiles(
        "pictures",
        _as_dataset(pictures),
        output.pixels,
        output.thumbnails,
        [PictureFile(path, picture.sha256) if path else None for path, picture in zip(paths, pictures, strict=True)],
    )
    folder = output.pixels.parent
    folder.mkdir(parents=True, exist_ok=True)
    mark_folder(folder, settings)
    canvas = Canvas(settings.width, settings.height, settings.placement)
    findings = cache_splits([split], Path(), canvas, settings.pictures, settings.encoded, threads)
    write_json(
        output.gone, {"gone": [picture.id for path, picture in zip(paths, pictures, strict=True) if path is None]}
    )
    return findings


def mark_folder(folder: Path, settings: PixelSettings) -> None:
    """Write the settings into canvas.json of a folder of pixels, so that files written there get records.

    Jobs of several chunks may do this at the same time: each first writes a file of its own with the same content.
    """
    if not (folder / CANVAS).exists():
        partial = folder / f".{CANVAS}.{uuid.uuid4().hex}"
        dump_json(partial, settings._asdict() | {"pictures": settings.pictures.model_dump()})
        partial.replace(folder / CANVAS)


def _as_dataset(pictures: Sequence[Picture]) -> Dataset:
    """Return the pictures as a data set without labels."""
    nothing = tuple(np.empty((0, 4), np.float32) for _ in pictures), tuple(np.empty(0, np.int64) for _ in pictures)
    sizes = np.array([(picture.width, picture.height) for picture in pictures], dtype=np.int64).reshape(-1, 2)
    names = tuple(picture.file for picture in pictures)
    return Dataset(np.array([picture.id for picture in pictures], dtype=np.int64), names, sizes, (), *nothing)


class SplitIndex(NamedTuple):
    """A split of a round, and what is written of it."""

    dataset: Dataset
    output: Path
    """JSON that says where its images are."""
    thumbnails: Path
    """Their thumbnails, uint8 [N, 24, 24], in the order of the data set."""


def index_splits(snapshot: Snapshot, chunks: Path, folder: Path, splits: Sequence[SplitIndex]) -> None:
    """Write where the images of each split are among the pixels of the chunks, and gather their thumbnails.

    Parameters
    ----------
    snapshot
        The snapshot of the round.
    chunks, folder
        Folder of the lists of pictures of the chunks, and folder of the chunks' pixels.

    Raises
    ------
    FaultyDataError
        With all images that were gone when their chunk was made.
    """
    files = [ChunkFiles.of(folder, digest) for digest in snapshot.chunks]
    lists = [load_chunk(chunks / f"{digest}.json") for digest in snapshot.chunks]
    places = {picture.id: (number, row) for number, chunk in enumerate(lists) for row, picture in enumerate(chunk)}
    gone = {image: chunk_files.gone.stem for chunk_files in files for image in read_json(chunk_files.gone)["gone"]}
    findings = Findings()
    for split in splits:
        for image, name in zip(split.dataset.image_ids.tolist(), split.dataset.file_names, strict=True):
            if image in gone:
                findings.fault(GONE, f"{name} (image {image}, {folder / gone[image]}*)")
    findings.raise_faults("the round", "")
    thumbnails = [
        load_thumbnails(chunk_files.thumbnails, len(chunk), "pictures")
        for chunk_files, chunk in zip(files, lists, strict=True)
    ]
    for split in splits:
        locations = np.array([places[image] for image in split.dataset.image_ids.tolist()], np.int64).reshape(-1, 2)
        used = np.unique(locations[:, 0])
        numbers = np.searchsorted(used, locations[:, 0])
        write_index(split.output, [files[number].pixels for number in used.tolist()], numbers, locations[:, 1])
        gathered = np.zeros((len(locations), *(thumbnails[0].shape[1:] if thumbnails else (0, 0))), np.uint8)
        for number in used.tolist():
            in_chunk = locations[:, 0] == number
            gathered[in_chunk] = thumbnails[number][locations[in_chunk, 1]]
        with atomic_path(split.thumbnails) as partial, partial.open("wb") as file:
            np.save(file, gathered)
            os.fsync(file.fileno())
