"""The image cache as it is read: pixels on their canvas, decoded when it was made or when they are asked for."""

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from mgral.artefacts.integrity import verify_file
from mgral.config import DeepGrey, Exif, PictureSettings
from mgral.config.canvas import Canvas
from mgral.data.dataset import Dataset
from mgral.data.decoding import PictureError, decode, mute_pillow
from mgral.errors import InputError

FILL = (124, 116, 104)
"""Colour of what an image leaves of its canvas: the mean of ImageNet's images, which backbones take for zero."""
DECODERS = 4
"""Threads that decode a batch, and the next one while the detector is busy."""
OFFSET = np.dtype("<i8")
_WAYS = tuple(product(get_args(Exif), get_args(DeepGrey)))


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
    """Return what packed files of the given lengths [N] in bytes begin with, int64 [N + 2].

    First how they are decoded, a number for `exif` and `deep_grey`, so that those who read need not be told. Then the
    offsets: file n is bytes [offset n : offset n+1].
    """
    start = OFFSET.itemsize * (len(lengths) + 2)
    way = _WAYS.index((settings.exif, settings.deep_grey))
    return np.concatenate([[way, start], start + np.cumsum(lengths)]).astype(OFFSET)


class Images:
    """The images of a split on their canvas, whether the cache holds pixels or files."""

    def __init__(self, stored: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64], canvas: Canvas) -> None:
        """Take the cached array, pixels [N, height, width, 3] or packed files, and the original sizes [N, 2]."""
        self.stored, self.sizes, self.canvas = stored, sizes, canvas
        self._decoders = ThreadPoolExecutor(DECODERS)  # which starts no thread before it is used
        self._ahead: dict[int, Future[npt.NDArray[np.uint8]]] = {}
        if self.encoded:
            self._prepare_pillow()

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

    def _prepare_pillow(self) -> None:
        """Let Pillow open what the cache holds without a warning: the step `cache` has checked it."""
        exif, deep_grey = _WAYS[int(self.stored[: OFFSET.itemsize].view(OFFSET)[0])]
        self._settings = PictureSettings(exif=exif, deep_grey=deep_grey)
        mute_pillow()
        if Image.MAX_IMAGE_PIXELS is not None and len(self.sizes):
            largest = int(self.sizes.prod(axis=1).max())
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, (largest + 1) // 2)

    def _decode_row(self, row: int) -> npt.NDArray[np.uint8]:
        place = OFFSET.itemsize * (row + 1)
        start, end = self.stored[place : place + 2 * OFFSET.itemsize].view(OFFSET)
        name = f"row {row} of the image cache"
        size = (int(self.sizes[row, 0]), int(self.sizes[row, 1]))
        try:
            picture = decode(self.stored[start:end].tobytes(), name, size, self._settings)
        except PictureError as error:
            raise InputError(f"{error.place} cannot be decoded; delete it and run the step `cache` again") from None
        return to_canvas(picture.pixels, self.canvas)


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
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the step `cache` again") from None
    if stored.dtype != np.uint8 or not _belongs(stored, len(dataset.image_ids), canvas):
        raise InputError(f"{path} does not belong to its data set; delete it and run the step `cache` again")
    return Images(stored, dataset.sizes, canvas)


def _belongs(stored: npt.NDArray[np.uint8], images: int, canvas: Canvas) -> bool:
    if stored.ndim == 4:
        return stored.shape == (images, canvas.height, canvas.width, 3)
    head = OFFSET.itemsize * (images + 2)
    if stored.ndim != 1 or len(stored) < head:
        return False
    way, *offsets = stored[:head].view(OFFSET).tolist()
    return 0 <= way < len(_WAYS) and offsets == sorted(offsets) and (offsets[0], offsets[-1]) == (head, len(stored))
