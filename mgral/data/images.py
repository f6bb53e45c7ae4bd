"""The image cache: every image of a split decoded once, at the detector's resolution."""

import io
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from mgral.artefacts import whole
from mgral.data.dataset import Dataset
from mgral.errors import InputError
from mgral.integrity import read_verified

_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def decode_image(path: Path, original: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return an image as uint8 [height, width, 3], RGB, scaled to `size`.

    Scaling is bilinear with the antialiasing filter of Pillow. The orientation in EXIF is not applied, as boxes
    refer to the stored pixels.

    Parameters
    ----------
    path
        An image file in any format that Pillow reads, of 8 bits a channel.
    original
        Width and height in pixels that the annotations give it.
    size
        Width and height of the result, in pixels.

    Raises
    ------
    InputError
        Naming the file, where it is missing, truncated, no image, or not of the annotated size.
    """
    try:
        with Image.open(io.BytesIO(read_verified(path))) as image:
            if image.size != original:
                raise InputError(
                    f"{path} is {image.width} x {image.height} pixels, but {original[0]} x {original[1]} in the "
                    "annotations; correct the annotations or replace the image"
                )
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{path} has more than 8 bits a channel; convert it to 8 bits")
            scaled = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    except _DECODING_ERRORS as error:
        raise InputError(f"{path} cannot be decoded ({error}); replace the file") from None
    return np.asarray(scaled)


def cache_images(
    dataset: Dataset, root: Path, size: tuple[int, int], output: Path, threads: int = 1, title: str = "cache"
) -> None:
    """Write the images of a data set as uint8 [N, height, width, 3], row n image n, in NumPy's format.

    The rows go through a memory map to a partial file, renamed when whole, so the array may exceed the memory.
    `size` is width and height in pixels. Raises InputError as `decode_image` does, and then leaves nothing behind.
    """
    width, height = size
    shape = (len(dataset.file_names), height, width, 3)
    with whole(output) as partial:
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        _reserve(partial)

        def fill(row: int) -> None:
            original = (int(dataset.sizes[row, 0]), int(dataset.sizes[row, 1]))
            array[row] = decode_image(root / dataset.file_names[row], original, size)

        executor = ThreadPoolExecutor(threads)
        try:
            for _ in tqdm(executor.map(fill, range(len(array))), title, len(array), unit="image", disable=None):
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
