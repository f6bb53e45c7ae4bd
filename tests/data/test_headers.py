"""Sizes of pictures, read from their headers."""

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from mgral.data.headers import picture_size
from mgral.errors import InputError


def save(path: Path, orientation: int | None = None, size: tuple[int, int] = (30, 20)) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.new("RGB", size, "teal").save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tif"])
@pytest.mark.parametrize(("orientation", "upright"), [(None, (30, 20)), (3, (30, 20)), (6, (20, 30)), (8, (20, 30))])
def test_the_size_is_that_of_the_upright_picture(
    tmp_path: Path, name: str, orientation: int | None, upright: tuple[int, int]
) -> None:
    path = save(tmp_path / name, orientation)
    assert picture_size(path) == upright
    # Pillow turns TIFF files itself, which is undone.
    assert picture_size(path, "ignore") == (30, 20)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_exif_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    content = path.read_bytes()
    end = content.index(b"IEND") - 4
    path.write_bytes(content[:end] + chunk(b"eXIf", exif.tobytes()[6:]) + content[end:])
    with Image.open(path) as image:
        assert image.getexif()[0x0112] == 6
    assert picture_size(path) == (20, 30)
    path.write_bytes(content[: content.index(b"IDAT") + 6] + chunk(b"eXIf", exif.tobytes()[6:]))
    assert picture_size(path) == (20, 30), "the pixels were decoded"


def test_damaged_exif_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (30, 20)).save(path, exif=b"Exif\x00\x00II*\x00garbage")
    assert picture_size(path) == (30, 20)


def test_a_picture_above_pillows_limit_has_a_size(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 50_000, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    before = Image.MAX_IMAGE_PIXELS
    assert picture_size(path) == (60_000, 50_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_damaged_avif_is_no_picture(tmp_path: Path) -> None:
    path = save(tmp_path / "x.avif")
    path.write_bytes(path.read_bytes().replace(b"av1C", b"av1X"))
    with pytest.raises(InputError, match=r"x\.avif: it is no picture of a format that is read"):
        picture_size(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "no picture"),
        (b"<html>", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\nshowpage\n", "no picture"),
        (b"\x89PNG\r\n\x1a\n\0\0", "no picture"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"x\.png: .*{message}.*replace"):
        picture_size(path)
