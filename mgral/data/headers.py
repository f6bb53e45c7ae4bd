"""The size of a picture from its header; its pixels are not decoded."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image
from PIL.ExifTags import Base

from mgral.config import Exif
from mgral.errors import InputError

SIDEWAYS = range(5, 9)
"""Values of the EXIF orientation that swap width and height."""

FORMATS = (
    "PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "AVIF", "PPM", "TGA", "PCX", "QOI", "SGI", "SUN",
)  # fmt: skip
"""Pillow's names of the formats that are read. For some others, such as EPS, Pillow runs a program on the file."""

ERRORS = (
    *(OSError, RuntimeError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error),
)
"""What Pillow raises on damaged files."""

_TAIL = 2**17
"""Bytes at the end of a PNG file that may contain EXIF, which is seldom above 2**16."""


def picture_size(path: Path, exif: Exif = "apply") -> tuple[int, int]:
    """Return the width and height of a picture in pixels, upright by its EXIF orientation unless told to ignore it.

    Not for use in threads. Some 50 microseconds for a JPEG file in memory.

    Raises
    ------
    InputError
        Naming the file, where it cannot be opened or is no picture in one of `FORMATS`.
    """
    try:
        with _any_size(), Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            # Pillow turns TIFF upright by itself: with `apply` that is done; with `ignore`, TIFF's turn is undone.
            may_swap = (exif == "apply") != (image.format == "TIFF")
            sideways = may_swap and _orientation(image, path) in SIDEWAYS
    except ERRORS as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is no picture of a format that is read"
        raise InputError(f"{path}: {reason}; replace the file") from None
    return (height, width) if sideways else (width, height)


def _orientation(image: Image.Image, path: Path) -> object:
    """Return the EXIF orientation, whatever is written there; None where there is none."""
    if image.format == "PNG" and "exif" not in image.info:
        # Pillow looks behind the pixels of a PNG file too, but decodes them to get there.
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            before, marker, chunk = file.read().rpartition(b"eXIf")
        if marker:
            image.info["exif"] = chunk[: int.from_bytes(before[-4:])]
    with suppress(*ERRORS):  # damaged EXIF says nothing
        return Image.Image.getexif(image).get(Base.Orientation)
    return None


@contextmanager
def _any_size() -> Iterator[None]:
    """Let Pillow open a picture of any size, without warnings: they are for the step that decodes it."""
    limit = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
