"""Reading the image cache: images on their canvas, decoded when the cache was made or when they are read."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from mgral.artefacts.files import read_json, write_json
from mgral.artefacts.integrity import verify_file
from mgral.config import DeepGrey, Exif, PictureSettings
from mgral.config.canvas import Canvas
from mgral.data.dataset import Dataset
from mgral.data.decoding import PictureError, decode, mute_pillow
from mgral.errors import InputError

FILL = (124, 116, 104)
"""RGB colour of a canvas beside its image: the mean of ImageNet, which normalisation turns into zero."""
DECODERS = 4
"""Threads that decode a batch, and the next one while the detector is busy."""
OFFSET = np.dtype("<i8")
_SETTINGS = tuple(product(get_args(Exif), get_args(DeepGrey)))
"""Pairs of `exif` and `deep_grey`; packed files begin with the index of theirs."""


def to_canvas(picture: Image.Image, canvas: Canvas) -> npt.NDArray[np.uint8]:
    """Return an RGB picture on its canvas as uint8 [height, width, 3].

    Scaling is bilinear with the antialiasing filter of Pillow.
    """
    covered = canvas.covered(np.array(picture.size))
    size = (int(covered[0]), int(covered[1]))
    if canvas.placement == "stretch" or size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    if size == (canvas.width, canvas.height):
        return np.asarray(picture)
    framed = Image.new("RGB", (canvas.width, canvas.height), FILL)
    framed.paste(picture, (0, 0))
    return np.asarray(framed)


def packed_head(lengths: npt.NDArray[np.int64], settings: PictureSettings) -> npt.NDArray[np.int64]:
    """Return the header of packed image files, int64 [N + 2], given the lengths [N] of the files in bytes.

    Its first number stands for the settings `exif` and `deep_grey`, so that readers decode the files in the same way.
    The others are offsets: file n is bytes [offset n : offset n+1].
    """
    start = OFFSET.itemsize * (len(lengths) + 2)
    settings_index = _SETTINGS.index((settings.exif, settings.deep_grey))
    return np.concatenate([[settings_index, start], start + np.cumsum(lengths)]).astype(OFFSET)


@dataclass(frozen=True)
class Chunks:
    """Images of a split that are rows of several cached files, as in a project."""

    paths: tuple[Path, ...]
    arrays: tuple[npt.NDArray[np.uint8], ...]
    """Of each file, mapped: pixels [n, height, width, 3] or packed files."""
    files: npt.NDArray[np.int64]
    """Shape [N]: the file of each image."""
    rows: npt.NDArray[np.int64]
    """Shape [N]: its row in the file."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the files itself."""
        return _open_chunks, (self.paths, self.files, self.rows)

    @property
    def ndim(self) -> int:
        """Dimensions of the arrays: 4 of pixels, 1 of packed files."""
        return self.arrays[0].ndim if self.arrays else 4

    def read(self, wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the pixels of some images [n], uint8 [n, height, width, 3]."""
        pixels = np.empty((len(wanted), *self.arrays[0].shape[1:]), np.uint8)
        files, rows = self.files[wanted], self.rows[wanted]
        for file in np.unique(files).tolist():
            in_file = files == file
            pixels[in_file] = self.arrays[file][rows[in_file]]
        return pixels


def _open_chunks(paths: tuple[Path, ...], files: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Chunks:
    return Chunks(paths, tuple(np.load(path, mmap_mode="r") for path in paths), files, rows)


class Images:
    """The images of a split on their canvas, whether the cache contains pixels or files."""

    def __init__(self, stored: npt.NDArray[np.uint8] | Chunks, sizes: npt.NDArray[np.int64], canvas: Canvas) -> None:
        """Take the cached array, pixels [N, height, width, 3] or packed files, and the original sizes [N, 2]."""
        self.stored, self.sizes, self.canvas = stored, sizes, canvas
        self._decoders = ThreadPoolExecutor(DECODERS)  # which starts no thread before it is used
        self._ahead: dict[int, Future[npt.NDArray[np.uint8]]] = {}
        if self.encoded:
            self._prepare_pillow()

    def __len__(self) -> int:
        return len(self.sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process map the cache itself: what is mapped would be pickled completely."""
        stored = Path(str(self.stored.filename)) if isinstance(self.stored, np.memmap) else self.stored
        return _reopen, (stored, self.sizes, self.canvas)

    @property
    def encoded(self) -> bool:
        """Whether the cache contains files."""
        return self.stored.ndim == 1

    @property
    def covered(self) -> npt.NDArray[np.int64]:
        """What each image covers of its canvas from the top left, int64 [N, 2]: width and height in pixels."""
        return self.canvas.covered(self.sizes)

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the canvases of some rows [n], uint8 [n, height, width, 3]; raises InputError on a damaged file."""
        if not self.encoded:
            return self.stored.read(rows) if isinstance(self.stored, Chunks) else self.stored[rows]
        self._ahead |= {row: self._start_decoding(row) for row in rows.tolist() if row not in self._ahead}
        canvases = np.stack([self._ahead[row].result() for row in rows.tolist()])
        for row in set(rows.tolist()):
            del self._ahead[row]
        return canvases

    def prefetch(self, rows: npt.NDArray[np.int64]) -> None:
        """Begin to decode the rows that will be read next, in place of any that this was asked for before."""
        if self.encoded:
            self._ahead = {row: self._ahead.get(row) or self._start_decoding(row) for row in rows.tolist()}

    def image(self, row: int) -> npt.NDArray[np.uint8]:
        """Return one image without the rest of its canvas, uint8 [height, width, 3]."""
        width, height = self.canvas.covered(self.sizes[row])
        return self.read(np.array([row]))[0, :height, :width]

    def _start_decoding(self, row: int) -> Future[npt.NDArray[np.uint8]]:
        return self._decoders.submit(self._decode_row, row)

    def _prepare_pillow(self) -> None:
        """Let Pillow open what the cache contains without a warning: the step `cache` has checked it."""
        packed = self.stored.arrays[0] if isinstance(self.stored, Chunks) else self.stored
        exif, deep_grey = _SETTINGS[int(packed[: OFFSET.itemsize].view(OFFSET)[0])]
        self._settings = PictureSettings(exif=exif, deep_grey=deep_grey)
        mute_pillow()
        if Image.MAX_IMAGE_PIXELS is not None and len(self.sizes):
            largest = int(self.sizes.prod(axis=1).max())
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, (largest + 1) // 2)

    def _decode_row(self, row: int) -> npt.NDArray[np.uint8]:
        """Return the canvas of an image whose file is in the cache, uint8 [height, width, 3]."""
        stored, stored_row = self.stored, row
        if isinstance(stored, Chunks):
            stored, stored_row = stored.arrays[stored.files[row]], int(stored.rows[row])
        offset = OFFSET.itemsize * (stored_row + 1)
        start, end = stored[offset : offset + 2 * OFFSET.itemsize].view(OFFSET)
        name = f"row {row} of the image cache"
        size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        try:
            picture = decode(stored[start:end].tobytes(), name, size, self._settings)
        except PictureError as error:
            raise InputError(f"{error.place} cannot be decoded; delete it and run the step `cache` again") from None
        return to_canvas(picture.pixels, self.canvas)


def _reopen(stored: Path | npt.NDArray[np.uint8] | Chunks, sizes: npt.NDArray[np.int64], canvas: Canvas) -> Images:
    return Images(np.load(stored, mmap_mode="r") if isinstance(stored, Path) else stored, sizes, canvas)


def load_images(path: Path, dataset: Dataset, canvas: Canvas) -> Images:
    """Map an image cache into memory; its pages are shared by all processes.

    Parameters
    ----------
    path
        The cache (.npy), or an index of the chunks of a project (.json), which `write_index` wrote.

    Raises
    ------
    InputError
        Where it cannot be read, or is not that of the data set and the canvas.
    """
    images = len(dataset.image_ids)
    if path.suffix == ".json":
        return Images(_load_index(path, images, canvas), dataset.sizes, canvas)
    stored = _map_cache(path, "cache")
    if not _is_cache_of(stored, images, canvas):
        raise InputError(f"{path} does not belong to its data set; delete it and run the step `cache` again")
    return Images(stored, dataset.sizes, canvas)


def write_index(
    path: Path, caches: Sequence[Path], files: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> None:
    """Write where the images of a split are in the caches of chunks: JSON that `load_images` reads.

    Parameters
    ----------
    caches
        Files of the chunks (.npy); their paths are written relative to the index.
    files, rows
        For each image, [N]: its file, as an index into `caches`, and its row in that file.
    """
    names = [Path(os.path.relpath(cache, path.parent)).as_posix() for cache in caches]
    write_json(path, {"caches": names, "files": files.tolist(), "rows": rows.tolist()})


def _load_index(path: Path, images: int, canvas: Canvas) -> Chunks:
    """Open the chunks that contain so many images of a split, as `write_index` wrote them."""
    values = read_json(path)
    try:
        paths = tuple(Path(os.path.normpath(path.parent / name)) for name in values["caches"])
        files, rows = (np.array(values[key], dtype=np.int64) for key in ("files", "rows"))
        counts = np.bincount(files, minlength=len(paths))
        if not len(files) == len(rows) == images or len(counts) > len(paths):
            raise ValueError("it is of another number of images")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not belong to its data set ({error}); run the step `index` again") from None
    # Checked by size only: there are many, and each file's name is a digest of what it is made of.
    arrays = tuple(_map_cache(chunk_path, "pictures", large=0) for chunk_path in paths)
    for number, array in enumerate(arrays):
        count = _count_images(array)
        if count < 0 or not _is_cache_of(array, count, canvas) or rows[files == number].max(initial=-1) >= count:
            raise InputError(f"{paths[number]} is damaged; delete it and run the step `pictures` again")
    return Chunks(paths, arrays, files, rows)


def _map_cache(path: Path, step: str, large: int | None = None) -> npt.NDArray[np.uint8]:
    try:
        verify_file(path, large)
        stored: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the step `{step}` again") from None
    return stored


def _count_images(stored: npt.NDArray[np.uint8]) -> int:
    """Return the number of images in a cached array; negative if it is no image cache."""
    if stored.ndim == 1 and stored.nbytes >= 2 * OFFSET.itemsize:
        head = int(stored.view(np.uint8)[OFFSET.itemsize : 2 * OFFSET.itemsize].view(OFFSET)[0])
        return head // OFFSET.itemsize - 2
    return len(stored) if stored.ndim == 4 else -1


def _is_cache_of(stored: npt.NDArray[np.uint8], images: int, canvas: Canvas) -> bool:
    """Return whether a cached array is one of so many images, on this canvas where it contains pixels."""
    if stored.dtype != np.uint8:
        return False
    if stored.ndim == 4:
        return stored.shape == (images, canvas.height, canvas.width, 3)
    head = OFFSET.itemsize * (images + 2)
    if stored.ndim != 1 or len(stored) < head:
        return False
    settings_index, *offsets = stored[:head].view(OFFSET).tolist()
    return (
        0 <= settings_index < len(_SETTINGS)
        and offsets == sorted(offsets)
        and (offsets[0], offsets[-1]) == (head, len(stored))
    )
