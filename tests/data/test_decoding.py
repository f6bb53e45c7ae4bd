"""Pictures as cameras, scanners and exporters make them, and what becomes of each."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mgral.config import PictureSettings
from mgral.data import decoding
from mgral.data.decoding import PictureError, decode, pillow_limits
from mgral.data.headers import picture_size

RED, BLUE = (255, 0, 0), (0, 0, 255)
APPLY, IGNORE = PictureSettings(), PictureSettings(exif="ignore")


def two_colours() -> Image.Image:
    """A picture of 6 x 4 pixels: its upper left pixel is red, the rest is blue."""
    image = Image.new("RGB", (6, 4), BLUE)
    image.putpixel((0, 0), RED)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(orientation: int, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(two_colours(), kind, exif=exif)


UPRIGHT = {1: (0, 0), 2: (5, 0), 3: (5, 3), 4: (0, 3), 5: (0, 0), 6: (3, 0), 7: (3, 5), 8: (0, 5)}
"""Where the first stored pixel is once the picture is upright, by orientation (the EXIF standard's table)."""


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_are_turned_upright(orientation: int, kind: str) -> None:
    content = with_orientation(orientation, kind)
    size = (6, 4) if orientation < 5 else (4, 6)
    found = decode(content, "a", size, APPLY)
    assert found.pixels.size == size
    assert found.pixels.getpixel(UPRIGHT[orientation]) == RED
    assert found.repairs == ((decoding.TURNED,) if orientation > 1 else ())
    assert found.sideways == (orientation >= 5)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_are_left_as_stored(orientation: int, kind: str) -> None:
    """Pillow turns TIFF by itself, which is undone."""
    found = decode(with_orientation(orientation, kind), "a", (6, 4), IGNORE)
    np.testing.assert_array_equal(np.asarray(found.pixels), np.asarray(two_colours()))
    assert found.repairs == ((decoding.NOT_TURNED,) if orientation > 1 else ())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_size_from_the_header_is_that_of_the_picture(tmp_path: Path, orientation: int, kind: str) -> None:
    path = tmp_path / "picture"
    path.write_bytes(with_orientation(orientation, kind))
    for settings in (APPLY, IGNORE):
        size = picture_size(path, settings.exif)
        assert decode(path.read_bytes(), "a", size, settings).pixels.size == size


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    assert decode(with_orientation(orientation), "a", (6, 4), APPLY).repairs == ()


def test_damaged_exif_turns_nothing() -> None:
    content = encoded(two_colours(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff junk")
    with pillow_limits(1000):
        assert decode(content, "a", (6, 4), APPLY).repairs == ()


SIZES = {
    "stored size, to be turned": (with_orientation(6), APPLY, (6, 4), decoding.STORED_SIZE, "4 x 6 pixels upright"),
    "upright size, not turned": (with_orientation(6), IGNORE, (4, 6), decoding.UPRIGHT_SIZE, "is 6 x 4 pixels,"),
    "exchanged without EXIF": (with_orientation(1), APPLY, (4, 6), decoding.OTHER_SIZE, "is 6 x 4 pixels,"),
    "another": (with_orientation(6), APPLY, (5, 5), decoding.OTHER_SIZE, "4 x 6 pixels upright, annotated 5 x 5"),
}


@pytest.mark.parametrize(("content", "settings", "size", "kind", "place"), SIZES.values(), ids=list(SIZES))
def test_a_size_that_contradicts(
    content: bytes, settings: PictureSettings, size: tuple[int, int], kind: decoding.Finding, place: str
) -> None:
    with pytest.raises(PictureError) as caught:
        decode(content, "a.png", size, settings)
    assert caught.value.kind is kind
    assert place in caught.value.place


def palette(transparency: int | bytes | None = None) -> bytes:
    image = two_colours().quantize(2)
    return encoded(image) if transparency is None else encoded(image, transparency=transparency)


def several_frames(kind: str) -> bytes:
    return encoded(two_colours(), kind, save_all=True, append_images=[Image.new("RGB", (6, 4), (0, 255, 0))])


def deep_colour() -> bytes:
    """A PNG of 16 bits a channel, which Pillow cannot write: one row of 6 x 4 pixels, red and then blue."""
    import struct
    import zlib

    pixels = [[(65535, 0, 0) if (x, y) == (0, 0) else (0, 0, 65535) for x in range(6)] for y in range(4)]
    rows = b"".join(b"\0" + b"".join(struct.pack(">3H", *p) for p in row) for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">2I5B", 6, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


ODD: dict[str, tuple[Callable[[], bytes], tuple[decoding.Finding, ...]]] = {
    "palette": (palette, ()),
    "palette, one colour transparent": (lambda: palette(0), (decoding.TRANSPARENT,)),
    "palette, alpha of each colour": (lambda: palette(b"\x80\x40"), (decoding.TRANSPARENT,)),
    "alpha": (lambda: encoded(two_colours().convert("RGBA")), (decoding.TRANSPARENT,)),
    "CMYK": (lambda: encoded(two_colours().convert("CMYK"), "TIFF"), (decoding.CMYK,)),
    "GIF": (lambda: several_frames("GIF"), (decoding.FIRST_FRAME,)),
    "TIFF of two pages": (lambda: several_frames("TIFF"), (decoding.FIRST_FRAME,)),
    "PNG with frames": (lambda: several_frames("PNG"), (decoding.FIRST_FRAME,)),
    "16 bits a channel": (deep_colour, (decoding.UPPER_BITS,)),
}


@pytest.mark.parametrize(("make", "repairs"), ODD.values(), ids=list(ODD))
def test_odd_pictures_have_their_colours(make: Callable[[], bytes], repairs: tuple[decoding.Finding, ...]) -> None:
    with pillow_limits(1000):
        found = decode(make(), "a", (6, 4), APPLY)
    np.testing.assert_allclose(np.asarray(found.pixels), np.asarray(two_colours()), atol=2)
    assert found.repairs == repairs


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_pictures(mode: str) -> None:
    image = Image.new("L", (3, 2), 255)
    image.putpixel((0, 0), 0)
    found = decode(encoded(image.convert(mode)), "a", (3, 2), APPLY)
    assert [found.pixels.getpixel(place) for place in ((0, 0), (1, 0))] == [(0, 0, 0), (255, 255, 255)]


def deep(values: list[float], dtype: type) -> bytes:
    kind = "PNG" if dtype is np.uint16 else "TIFF"
    return encoded(Image.fromarray(np.array([values], dtype)), kind)


DEEP = {
    "16 bits": (deep([0, 65535, 257], np.uint16), "full_range", [0, 255, 1]),
    "16 bits, own range": (deep([1000, 3000, 2000], np.uint16), "own_range", [0, 255, 128]),
    "16 bits, one value": (deep([1000, 1000, 1000], np.uint16), "own_range", [0, 0, 0]),
    "floats": (deep([0, 1, 0.2], np.float32), "full_range", [0, 255, 51]),
    "floats, own range": (deep([-10, 10, -6], np.float32), "own_range", [0, 255, 51]),
    "32 bits": (deep([0, 65535, 257], np.int32), "full_range", [0, 255, 1]),
    "32 bits, own range": (deep([0, 10_000_000, 2_000_000], np.int32), "own_range", [0, 255, 51]),
}


@pytest.mark.parametrize(("content", "way", "expected"), DEEP.values(), ids=list(DEEP))
def test_deep_grey_is_scaled_by_a_setting(content: bytes, way: Any, expected: list[int]) -> None:
    found = decode(content, "a", (3, 1), PictureSettings(deep_grey=way))
    assert np.asarray(found.pixels)[0].tolist() == [[value] * 3 for value in expected]
    assert found.repairs == ((decoding.FULL_RANGE,) if way == "full_range" else (decoding.OWN_RANGE,))
    with pytest.raises(PictureError, match=r"set `data\.deep_grey: full_range`"):
        decode(content, "a", (3, 1), PictureSettings())


@pytest.mark.parametrize(
    ("content", "way", "kind"),
    [
        (deep([0, 70_000], np.int32), "full_range", decoding.OUT_OF_RANGE),
        (deep([0, 200], np.float32), "full_range", decoding.OUT_OF_RANGE),
        (deep([-1, 0], np.float32), "full_range", decoding.OUT_OF_RANGE),
        (deep([0, np.nan], np.float32), "own_range", decoding.NOT_FINITE),
        (deep([0, np.inf], np.float32), "full_range", decoding.NOT_FINITE),
    ],
)
def test_deep_grey_that_has_no_such_range(content: bytes, way: Any, kind: decoding.Finding) -> None:
    with pytest.raises(PictureError) as caught:
        decode(content, "a", (2, 1), PictureSettings(deep_grey=way))
    assert caught.value.kind is kind


AVIF = encoded(Image.effect_noise((60, 40), 90).convert("RGB"), "AVIF")
AVIF_PIXELS = AVIF.index(b"mdat") + 4
UNREADABLE = {
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", decoding.UNKNOWN, "a (HEIC)"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", decoding.UNKNOWN, "run `git lfs pull`"),
    "web page": (b"<!DOCTYPE html><html></html>", decoding.UNKNOWN, "a (a web page)"),
    "EPS": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 4\nshowpage\n",
        decoding.UNKNOWN,
        "a (PostScript or EPS)",
    ),
    "text": (b"no image at all", decoding.UNKNOWN, "a"),
    "empty": (b"", decoding.UNKNOWN, "a (empty)"),
    "truncated": (encoded(Image.effect_noise((60, 40), 90))[:900], decoding.DAMAGED, "a ("),
    "AVIF header": (AVIF.replace(b"av1C", b"av1X"), decoding.DAMAGED, "a ("),
    "AVIF pixels": (AVIF[:AVIF_PIXELS].ljust(len(AVIF), b"\0"), decoding.DAMAGED, "a ("),
}


@pytest.mark.parametrize(("content", "kind", "place"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_what_is_no_picture_is_named(content: bytes, kind: decoding.Finding, place: str) -> None:
    with pytest.raises(PictureError) as caught:
        decode(content, "a", (60, 40), APPLY)
    assert caught.value.kind is kind
    assert place in caught.value.place


def test_the_limit_of_pixels_is_the_setting_and_ends_with_the_block() -> None:
    content, before = encoded(Image.new("1", (400, 250))), Image.MAX_IMAGE_PIXELS
    with pillow_limits(100_000):
        decode(content, "a", (400, 250), APPLY)
    with pillow_limits(99_998), pytest.raises(PictureError, match=r"a \(100000 pixels\): set `data\.max_pixels`"):
        decode(content, "a", (400, 250), APPLY)
    assert before == Image.MAX_IMAGE_PIXELS


def test_pillows_warnings_are_kept_and_others_are_not() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pillow_limits(60_000):  # Pillow warns from half of its limit
            decode(encoded(Image.new("1", (200, 200))), "a", (200, 200), APPLY)
            warnings.warn("of somebody else", stacklevel=1)
    assert [str(warning.message) for warning in seen] == ["of somebody else"]
