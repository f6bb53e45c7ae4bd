"""A picture's file as upright 8-bit RGB, and what is wrong with it or was done to it."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from mgral.config import DeepGrey, PictureSettings
from mgral.data.findings import Finding
from mgral.data.headers import ERRORS, FORMATS, SIDEWAYS
from mgral.errors import InputError

DAMAGED = Finding("images cannot be decoded", "replace the files, or convert them to 8-bit RGB in JPEG or PNG")
UNKNOWN = Finding("files are of no format that is read", "convert them to JPEG or PNG, or replace them")
TOO_LARGE = Finding(
    "images have more pixels than `max_pixels` allows",
    "set `data.max_pixels` to the pixels of the largest if they are genuine, or scale them and their boxes down",
)
OTHER_SIZE = Finding(
    "images have not the annotated size, upright or as stored",
    "correct the sizes in the annotations, or put the annotated images there",
)
STORED_SIZE = Finding(
    "images have the annotated size only without the turn that their EXIF orientation asks for",
    "set `data.exif: ignore`, as their boxes seem to be of the stored pixels",
)
UPRIGHT_SIZE = Finding(
    "images have the annotated size only when turned as their EXIF orientation says",
    "set `data.exif: apply`, as their boxes seem to be of the upright picture",
)
DEEP = Finding(
    "grey images have more than 8 bits a pixel",
    "set `data.deep_grey: full_range`, or `own_range` where they are dark like that, or convert them to 8 bits",
)
OUT_OF_RANGE = Finding(
    "grey images have values outside of the full range of their type, 0 to 65535 or, of floats, 0 to 1",
    "set `data.deep_grey: own_range`, or convert them to 8 bits",
)
NOT_FINITE = Finding("grey images have values that are not finite", "replace the files, or convert them to 8 bits")

TURNED = Finding("images were turned upright", "as EXIF says; `data.exif: ignore` leaves them as stored")
NOT_TURNED = Finding("images were left as stored", "although EXIF asks for a turn, as `data.exif` is `ignore`")
FIRST_FRAME = Finding("images have several frames", "the first is used")
FULL_RANGE = Finding("grey images of more than 8 bits were scaled", "from the full range of their type")
OWN_RANGE = Finding("grey images of more than 8 bits were scaled", "from the range of each")
UPPER_BITS = Finding("colour images have 16 bits a channel", "the upper 8 are used")
TRANSPARENT = Finding("images have transparency", "it is left out: the colours stored beneath it are used")
CMYK = Finding("images are in CMYK", "converted to RGB without a colour profile")

_ORIENTATION = ExifTags.Base.Orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UNDOES = {6: 8, 8: 6}
_SIGNATURES = (
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftyphevc", "HEIC"),
    (0, b"version https://git-lfs", "a pointer of Git LFS: run `git lfs pull`"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"<!DOCTYPE html", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript or EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF", "EMF"),
    (0, b"8BPS", "Photoshop"),
)

# Pillow reports damaged headers to its log too, which ends on standard error where nobody has set one up.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class PictureError(InputError):
    """A picture that cannot be used: the kind of fault, and the place, which names it."""

    def __init__(self, kind: Finding, place: str) -> None:
        super().__init__(f"{place}: {kind.advice}")
        self.kind, self.place = kind, place


class Picture(NamedTuple):
    """A decoded picture."""

    pixels: Image.Image
    """RGB, turned as the settings say."""
    repairs: tuple[Finding, ...]
    sideways: bool
    """Whether its size agrees with the annotations under the present `data.exif`, but not under the other value."""


def decode(
    content: bytes, name: str, annotated: tuple[int, int], settings: PictureSettings, least_side: int | None = None
) -> Picture:
    """Decode a picture to RGB of 8 bits a channel, turned as the settings say.

    Parameters
    ----------
    content
        A file in one of `mgral.data.headers.FORMATS`.
    name
        What a message calls it.
    annotated
        Width and height in pixels that the annotations give it.
    settings
        What is done about EXIF and deep grey. Pillow's limit of pixels is set by `pillow_limits`.
    least_side
        For a thumbnail: a JPEG file is decoded at a half, a quarter or an eighth of its size, which is faster, if
        both sides then have at least this many pixels.

    Raises
    ------
    PictureError
        Where it is damaged, no picture, too large, deep grey that is refused, or not of the annotated size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return _decode(image, name, annotated, settings, least_side)
    except UnidentifiedImageError:
        raise PictureError(UNKNOWN, f"{name}{_named_format(content)}") from None
    except Image.DecompressionBombError as error:
        raise PictureError(TOO_LARGE, f"{name} ({str(error).split(' pixels)')[0].split('(')[-1]} pixels)") from None
    except MemoryError:
        raise PictureError(DAMAGED, f"{name} (not enough memory)") from None
    except ERRORS as error:
        raise PictureError(DAMAGED, f"{name} ({error})") from None


def _decode(
    image: Image.Image, name: str, annotated: tuple[int, int], settings: PictureSettings, least_side: int | None
) -> Picture:
    repairs = list(_oddities(image))  # before EXIF is asked for, which loads a PNG
    orientation = _orientation(image)
    sideways = orientation in SIDEWAYS
    # Pillow turns TIFF upright by itself, and gives its upright size.
    turned_already = image.format == "TIFF"
    stored = image.size[::-1] if sideways and turned_already else image.size
    upright = stored[::-1] if sideways else stored
    applied = settings.exif == "apply"
    if annotated != (upright if applied else stored):
        _refuse_size(name, annotated, stored, upright, applied)
    if orientation in _TURNS:
        repairs.append(TURNED if applied else NOT_TURNED)
    if least_side is not None:
        image.draft(None, (least_side, least_side))
    image.load()
    if image.mode.startswith(("I", "F")):
        pixels, repair = _scale_to_rgb(image, name, settings.deep_grey)
        repairs.append(repair)
    else:
        pixels = image.convert("RGB")
    if orientation in _TURNS and applied != turned_already:
        pixels = pixels.transpose(_TURNS[orientation if applied else _UNDOES.get(orientation, orientation)])
    return Picture(pixels, tuple(repairs), sideways and stored != upright)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1, as for an upright picture, where there is none that is valid."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except ERRORS:  # EXIF that is damaged says nothing
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TURNS else 1


def _refuse_size(
    name: str, annotated: tuple[int, int], stored: tuple[int, int], upright: tuple[int, int], applied: bool
) -> None:
    """Raise PictureError, with other advice where the picture has the annotated size under the other `data.exif`."""
    size, other_size = (upright, stored) if applied else (stored, upright)
    turned = " upright" if applied and stored != upright else ""
    place = f"{name} is {size[0]} x {size[1]} pixels{turned}, annotated {annotated[0]} x {annotated[1]}"
    if annotated == other_size:
        raise PictureError(STORED_SIZE if applied else UPRIGHT_SIZE, place)
    raise PictureError(OTHER_SIZE, place)


def _oddities(image: Image.Image) -> Iterator[Finding]:
    """Yield what the conversion to RGB leaves out; before the pixels are loaded."""
    if getattr(image, "n_frames", 1) > 1:
        yield FIRST_FRAME
    if image.mode == "CMYK":
        yield CMYK
    if image.has_transparency_data:
        yield TRANSPARENT
    if not image.mode.startswith(("I", "F")) and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())):
        yield UPPER_BITS


def _scale_to_rgb(image: Image.Image, name: str, deep_grey: DeepGrey) -> tuple[Image.Image, Finding]:
    """Scale deep grey to RGB of 8 bits, and return what is to be noted of it."""
    if deep_grey == "refuse":
        raise PictureError(DEEP, f"{name} (mode {image.mode})")
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise PictureError(NOT_FINITE, name)
    low, high = float(values.min()), float(values.max())
    if deep_grey == "full_range":
        largest = 1.0 if image.mode.startswith("F") else 65535.0
        if low < 0 or high > largest:
            raise PictureError(OUT_OF_RANGE, f"{name} (from {low:g} to {high:g})")
        return _to_rgb(values, 0.0, largest), FULL_RANGE
    return _to_rgb(values, low, high), OWN_RANGE


def _to_rgb(values: npt.NDArray[np.float64], low: float, high: float) -> Image.Image:
    # A picture of one value has no range; it is black.
    grey = np.rint((values - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _named_format(content: bytes) -> str:
    """Return the format of a file that is not read, in brackets for a message; empty where it is not known."""
    if not content:
        return " (empty)"
    return next((f" ({kind})" for start, mark, kind in _SIGNATURES if content.startswith(mark, start)), "")


@contextmanager
def pillow_limits(max_pixels: int) -> Iterator[None]:
    """Let Pillow open pictures of up to `max_pixels`, and no larger, and keep its warnings to itself.

    Both are settings of the whole process, so only its main thread may call this.
    """
    old_limit = Image.MAX_IMAGE_PIXELS
    # Pillow warns above its limit and raises above twice the limit.
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
    try:
        with warnings.catch_warnings():
            mute_pillow()
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = old_limit


def mute_pillow() -> None:
    """Keep Pillow's warnings of odd files to itself from now on."""
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
