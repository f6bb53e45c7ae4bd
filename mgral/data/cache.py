"""Writing the image cache: every image is decoded once, and the faults of all images are collected."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import atomic_path, dump_json
from mgral.artefacts.integrity import READ, read_verified
from mgral.compute.progress import tracked
from mgral.config import PictureSettings
from mgral.config.canvas import Canvas
from mgral.data.dataset import Dataset
from mgral.data.decoding import DAMAGED, STORED_SIZE, UPRIGHT_SIZE, Picture, PictureError, decode, pillow_limits
from mgral.data.findings import IN_LOG, Finding, Findings
from mgral.data.images import packed_head, to_canvas
from mgral.data.thumbnails import SIDE, thumbnail
from mgral.errors import program

MISSING = Finding("images are not on disk", "put the files there, or remove their entries from the annotations")
LOST = Finding(
    "pictures are not where they were found",
    f"put them back, or run `{program()} project scan`, which finds renamed ones by their content",
)
ALTERED = Finding(
    "pictures are not what they were when they were found",
    f"put the old files back, or run `{program()} project scan`, which takes what is there now for other pictures",
)
CHANGING = Finding("images change while they are read", "run the step again when they do not")

Bytes = npt.NDArray[np.uint8]


class PictureFile(NamedTuple):
    """Where a picture of a project is, and what it must contain."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class SplitFiles:
    """A split, and where its cache is written."""

    name: str
    """For the progress bar."""
    dataset: Dataset
    images: Path
    """Pixels, uint8 [N, height, width, 3]; or packed files, uint8 [bytes], see `mgral.data.images.packed_head`."""
    thumbnails: Path | None = None
    """Grey thumbnails, uint8 [N, 24, 24]; None for none."""
    picture_files: Sequence[PictureFile | None] | None = None
    """In a project: the file of each image, or None if it is gone for good; its row then stays 0. None for other
    data sets, whose paths follow from root and file names."""

    def path(self, row: int, root: Path) -> Path | None:
        """Return where the file of an image is; None for one that is gone."""
        if self.picture_files is None:
            return root / self.dataset.file_names[row]
        file = self.picture_files[row]
        return file.path if file else None

    def read(self, row: int, path: Path) -> bytes:
        """Return the content of an image's file; raises PictureError if it is missing, unreadable or another file."""
        name = self.dataset.file_names[row] if self.picture_files is None else str(path)
        try:
            content = read_verified(path)
        except FileNotFoundError:
            raise PictureError(MISSING if self.picture_files is None else LOST, name) from None
        except OSError as error:
            raise PictureError(DAMAGED, f"{name} ({error.strerror})") from None
        if self.picture_files and (file := self.picture_files[row]) and READ[path] != file.sha256:
            raise PictureError(ALTERED, name)
        return content


class _Written(NamedTuple):
    """What is known of a picture once it is written."""

    repairs: tuple[Finding, ...]
    sideways: bool


@dataclass(frozen=True)
class _Content:
    """An array to be written, and how one picture gets into it."""

    shape: tuple[int, ...]
    head: Bytes
    put: Callable[[Bytes, int, bytes, Picture], None]


def cache_splits(
    splits: Sequence[SplitFiles],
    root: Path,
    canvas: Canvas,
    settings: PictureSettings,
    keep_files: bool = False,
    threads: int = 1,
    report: Path | None = None,
) -> Findings:
    """Decode the images of all splits, write them and their thumbnails, and return what was repaired.

    Rows are in the order of the data set. The arrays are mapped partial files, so they may exceed the memory; they
    are renamed when all are complete. Each image is read once, whether pixels or files are kept.

    Parameters
    ----------
    root
        The folder that file names are relative to.
    canvas
        How images are scaled and placed, as the detector needs them.
    settings
        How files become pixels.
    keep_files
        Keep the files and not the pixels, after all have been decoded once.
    threads
        Number of threads that decode.
    report
        JSON to write with the arrays: what was repaired.

    Raises
    ------
    FaultyDataError
        With all images of all splits that are missing, damaged, or not as annotated; then nothing is written.
    """
    findings = Findings()
    contradicting: dict[Finding, list[str]] = {STORED_SIZE: [], UPRIGHT_SIZE: []}
    agreeing = 0
    with ExitStack() as stack:
        stack.enter_context(pillow_limits(settings.max_pixels))
        for split in splits:
            partial = stack.enter_context(atomic_path(split.images))
            thumbnails = np.zeros((len(split.dataset.file_names), SIDE, SIDE), dtype=np.uint8)
            content = _file_content(split, root, settings) if keep_files else _pixel_content(split.dataset, canvas)
            with _mapped(partial, content) as array:
                for row, result in enumerate(_decoded(split, root, content, array, thumbnails, settings, threads)):
                    if isinstance(result, _Written):
                        agreeing += result.sideways
                        for kind in result.repairs:
                            findings.repair(kind, split.dataset.file_names[row])
                    elif result.kind in contradicting:
                        contradicting[result.kind].append(result.place)
                    else:
                        findings.fault(result.kind, result.place)
            del array  # as in `_mapped`
            if split.thumbnails:
                with stack.enter_context(atomic_path(split.thumbnails)).open("wb") as file:
                    np.save(file, thumbnails)
                    os.fsync(file.fileno())
        for kind, places in contradicting.items():
            for place in places:
                findings.fault(_advise_on_mixed(kind, agreeing), place)
        findings.raise_faults(all_listed=IN_LOG)
        if report:
            dump_json(stack.enter_context(atomic_path(report)), findings.as_json()["repairs"])
    return findings


def _advise_on_mixed(kind: Finding, agreeing: int) -> Finding:
    """Return the fault of sizes that contradict `data.exif`, with other advice where other images agree with it."""
    if not agreeing:
        return kind
    form = "turned" if kind is STORED_SIZE else "as stored"
    return Finding(
        kind.title,
        f"{agreeing} others have theirs only {form}, so no `data.exif` fits all: correct the sizes and boxes of one "
        "sort, or save those files upright and without EXIF",
    )


def _decoded(
    split: SplitFiles,
    root: Path,
    content: _Content,
    array: Bytes,
    thumbnails: Bytes,
    settings: PictureSettings,
    threads: int,
) -> Iterator[_Written | PictureError]:
    """Fill both arrays, and yield for each image, in order, its repairs or its fault."""
    dataset = split.dataset

    def fill(row: int) -> _Written | PictureError:
        name, path = dataset.file_names[row], split.path(row, root)
        if path is None:
            return _Written((), False)
        size = (int(dataset.sizes[row, 0]), int(dataset.sizes[row, 1]))
        try:
            file = split.read(row, path)
            picture = decode(file, name, size, settings)
            content.put(array, row, file, picture)
        except PictureError as error:
            return error
        thumbnails[row] = thumbnail(picture.pixels)
        return _Written(picture.repairs, picture.sideways)

    executor = ThreadPoolExecutor(threads)
    try:
        rows = range(len(dataset.file_names))
        yield from tracked(executor.map(fill, rows), f"cache {split.name}", len(rows), "image")
    finally:
        executor.shutdown(cancel_futures=True)


def _pixel_content(dataset: Dataset, canvas: Canvas) -> _Content:
    """Return an array of the pixels of pictures on their canvas."""

    def put(array: Bytes, row: int, file: bytes, picture: Picture) -> None:
        array[row] = to_canvas(picture.pixels, canvas)

    shape = (len(dataset.file_names), canvas.height, canvas.width, 3)
    return _Content(shape, np.empty(0, np.uint8), put)


def _file_content(split: SplitFiles, root: Path, settings: PictureSettings) -> _Content:
    """Return an array of packed files; see `mgral.data.images.packed_head`."""
    names = split.dataset.file_names
    lengths = np.array([_file_length(split.path(row, root)) for row in range(len(names))], dtype=np.int64)
    head = packed_head(lengths, settings)

    def put(array: Bytes, row: int, file: bytes, picture: Picture) -> None:
        if len(file) != lengths[row]:
            raise PictureError(CHANGING, names[row])
        array[head[row + 1] : head[row + 2]] = np.frombuffer(file, np.uint8)

    return _Content((int(head[-1]),), head.view(np.uint8), put)


def _file_length(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0  # which is reported when it is read


@contextmanager
def _mapped(partial: Path, content: _Content) -> Iterator[Bytes]:
    """Give the array in a new file of NumPy's format, which is on the disk afterwards."""
    np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=content.shape)
    _reserve(partial)
    # Only now: a map that an error still knows keeps the space of a deleted file, and leaves none for the log.
    array = np.lib.format.open_memmap(partial, mode="r+")
    if len(content.head):
        array[: len(content.head)] = content.head
    yield array
    array.flush()
    with partial.open("rb") as file:
        os.fsync(file.fileno())


def _reserve(path: Path) -> None:
    """Take the disk space of a file now: were a disk full later, writing to the map would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
