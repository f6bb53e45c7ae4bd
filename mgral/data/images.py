"""The image cache: every image of a split decoded once, or every file in one, in the order of the data set."""

import io
import os
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from mgral.artefacts.files import atomic_path
from mgral.artefacts.integrity import read_verified, verify_file
from mgral.config.canvas import Canvas
from mgral.data.dataset import Dataset
from mgral.errors import InputError

FILL = (124, 116, 104)
"""Colour of what an image leaves of its canvas: the mean of ImageNet's images, which backbones take for zero."""
DECODERS = 4
"""Threads that decode a batch, and the next one while the detector is busy."""
OFFSET = np.dtype("<i8")

_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def decode_image(path: Path, original: tuple[int, int], canvas: Canvas) -> npt.NDArray[np.uint8]:
    """Return an image on its canvas as uint8 [height, width, 3], RGB.

    Scaling is bilinear with the antialiasing filter of Pillow. The orientation in EXIF is not applied, as boxes
    refer to the stored pixels.

    Parameters
    ----------
    path
        An image file in any format that Pillow reads, of 8 bits a channel.
    original
        Width and height in pixels that the annotations give it.

    Raises
    ------
    InputError
        Naming the file, where it is missing, truncated, no image, or not of the annotated size.
    """
    return _decode(lambda: read_verified(path), path, original, canvas)


def _decode(
    read: Callable[[], bytes], name: Path | str, original: tuple[int, int], canvas: Canvas
) -> npt.NDArray[np.uint8]:
    covered = canvas.covered(np.array(original))
    size = (int(covered[0]), int(covered[1]))
    try:
        with Image.open(io.BytesIO(read())) as image:
            if image.size != original:
                raise InputError(
                    f"{name} is {image.width} x {image.height} pixels, but {original[0]} x {original[1]} in the "
                    "annotations; correct the annotations or replace the image"
                )
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{name} has more than 8 bits a channel; convert it to 8 bits")
            scaled = image.convert("RGB")
            if canvas.placement == "stretch" or size != original:
                scaled = scaled.resize(size, Image.Resampling.BILINEAR)
    except _DECODING_ERRORS as error:
        raise InputError(f"{name} cannot be decoded ({error}); replace the file") from None
    if size == (canvas.width, canvas.height):
        return np.asarray(scaled)
    framed = Image.new("RGB", (canvas.width, canvas.height), FILL)
    framed.paste(scaled, (0, 0))
    return np.asarray(framed)


def cache_images(
    dataset: Dataset, root: Path, canvas: Canvas, output: Path, threads: int = 1, title: str = "cache"
) -> None:
    """Write the images of a data set as uint8 [N, height, width, 3], row n image n, in NumPy's format.

    The rows go through a memory map to a partial file, renamed when whole, so the array may exceed the memory.
    Raises InputError as `decode_image` does, and then leaves nothing behind.
    """

    def fill(array: npt.NDArray[np.uint8], row: int) -> None:
        array[row] = decode_image(root / dataset.file_names[row], _size(dataset.sizes, row), canvas)

    shape = (len(dataset.file_names), canvas.height, canvas.width, 3)
    _write(output, shape, fill, shape[0], threads, title)


def pack_images(
    dataset: Dataset, root: Path, canvas: Canvas, output: Path, threads: int = 1, title: str = "cache"
) -> None:
    """Write the image files of a data set into one array, uint8 [bytes], in NumPy's format.

    It begins with N + 1 offsets, int64 and little-endian: file n is array[offset n : offset n+1]. Each file is
    decoded once, so that a damaged one is found here and not in a training. Raises as `cache_images` does.
    """
    paths = [root / name for name in dataset.file_names]
    try:
        lengths = [path.stat().st_size for path in paths]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be decoded ({error.strerror}); replace the file") from None
    header = OFFSET.itemsize * (len(paths) + 1)
    offsets = (header + np.concatenate([[0], np.cumsum(lengths)])).astype(OFFSET)

    def fill(array: npt.NDArray[np.uint8], row: int) -> None:
        content = read_verified(paths[row])
        if len(content) != lengths[row]:
            raise InputError(f"{paths[row]} changes while it is read; run the step again when it does not")
        _decode(lambda: content, paths[row], _size(dataset.sizes, row), canvas)
        array[offsets[row] : offsets[row + 1]] = np.frombuffer(content, np.uint8)
        if row == 0:
            array[:header] = offsets.view(np.uint8)

    _write(output, (int(offsets[-1]),), fill, len(paths), threads, title)


def _write(
    output: Path,
    shape: tuple[int, ...],
    fill: Callable[[npt.NDArray[np.uint8], int], None],
    rows: int,
    threads: int,
    title: str,
) -> None:
    with atomic_path(output) as partial:
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(partial)
        executor = ThreadPoolExecutor(threads)
        try:
            done = executor.map(lambda row: fill(array, row), range(rows))
            for _ in tqdm(done, title, rows, unit="image", disable=None):
                pass
        finally:
            executor.shutdown(cancel_futures=True)
        array.flush()
        with partial.open("rb") as file:
            os.fsync(file.fileno())


def _reserve(path: Path) -> None:
    """Take the disk space of a file now: were a disk full later, writing to the map would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


class Images:
    """The images of a split on their canvas, whether the cache holds pixels or files."""

    def __init__(self, stored: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64], canvas: Canvas) -> None:
        """Take the cached array, pixels [N, height, width, 3] or packed files, and the original sizes [N, 2]."""
        self.stored, self.sizes, self.canvas = stored, sizes, canvas
        self._decoders = ThreadPoolExecutor(DECODERS)  # which starts no thread before it is used
        self._ahead: dict[int, Future[npt.NDArray[np.uint8]]] = {}

    def __len__(self) -> int:
        return len(self.sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the cache itself: what is mapped would be pickled whole."""
        stored = Path(str(self.stored.filename)) if isinstance(self.stored, np.memmap) else self.stored
        return _reopen, (stored, self.sizes, self.canvas)

    @property
    def encoded(self) -> bool:
        """Whether the cache holds files."""
        return self.stored.ndim == 1

    @property
    def covered(self) -> npt.NDArray[np.int64]:
        """What each image covers of its canvas from the top left, int64 [N, 2]: width and height in pixels."""
        return self.canvas.covered(self.sizes)

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the canvases of some rows [n], uint8 [n, height, width, 3]; raises InputError on a damaged file."""
        if not self.encoded:
            return self.stored[rows]
        self._ahead |= {row: self._start(row) for row in rows.tolist() if row not in self._ahead}
        found = np.stack([self._ahead[row].result() for row in rows.tolist()])
        for row in set(rows.tolist()):
            del self._ahead[row]
        return found

    def prefetch(self, rows: npt.NDArray[np.int64]) -> None:
        """Begin to decode the rows that will be read next, in place of any that this was asked for before."""
        if self.encoded:
            self._ahead = {row: self._ahead.get(row) or self._start(row) for row in rows.tolist()}

    def image(self, row: int) -> npt.NDArray[np.uint8]:
        """Return one image without the rest of its canvas, uint8 [height, width, 3]."""
        width, height = self.canvas.covered(self.sizes[row])
        return self.read(np.array([row]))[0, :height, :width]

    def _start(self, row: int) -> Future[npt.NDArray[np.uint8]]:
        return self._decoders.submit(self._decode_row, row)

    def _decode_row(self, row: int) -> npt.NDArray[np.uint8]:
        place = OFFSET.itemsize * row
        start, end = self.stored[place : place + 2 * OFFSET.itemsize].view(OFFSET)
        name = f"the file of row {row} of the image cache"
        return _decode(self.stored[start:end].tobytes, name, _size(self.sizes, row), self.canvas)


def _reopen(stored: Path | npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64], canvas: Canvas) -> Images:
    return Images(np.load(stored, mmap_mode="r") if isinstance(stored, Path) else stored, sizes, canvas)


def load_images(path: Path, dataset: Dataset, canvas: Canvas) -> Images:
    """Map an image cache into memory; its pages are shared by all processes.

    Raises
    ------
    InputError
        Where it cannot be read, or is not that of the data set and the canvas.
    """
    try:
        verify_file(path)
        stored: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the step `cache` again") from None
    if stored.dtype != np.uint8 or not _belongs(stored, len(dataset.image_ids), canvas):
        raise InputError(f"{path} does not belong to its data set; delete it and run the step `cache` again")
    return Images(stored, dataset.sizes, canvas)


def _belongs(stored: npt.NDArray[np.uint8], images: int, canvas: Canvas) -> bool:
    if stored.ndim == 4:
        return stored.shape == (images, canvas.height, canvas.width, 3)
    header = OFFSET.itemsize * (images + 1)
    if stored.ndim != 1 or len(stored) < header:
        return False
    offsets = stored[:header].view(OFFSET)
    return bool(offsets[0] == header and offsets[-1] == len(stored) and (np.diff(offsets) >= 0).all())


def _size(sizes: npt.NDArray[np.int64], row: int) -> tuple[int, int]:
    return int(sizes[row, 0]), int(sizes[row, 1])
