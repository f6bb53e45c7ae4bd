"""The step `cache` and the decoding of images."""

import io
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.config.canvas import Canvas
from mgral.data.dataset import load_dataset
from mgral.data.images import decode_image, load_images
from mgral.errors import InputError

SIZES = ((16, 8), (40, 40), (7, 30))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images, each of one colour and its own size, listed in another order than their names'."""
    (tmp_path / "set").mkdir()
    images = []
    for number, size in enumerate(SIZES):
        name = f"{9 - number}.png"
        Image.new("RGB", size, (number * 50, 10, 200)).save(tmp_path / "set" / name)
        images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
    write_json(tmp_path / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    (tmp_path / "config.yaml").write_text(
        f"{{data: {{format: coco, root: {tmp_path / 'set'}}}, detector: {{width: 12, height: 8}}}}"
    )
    return tmp_path


def run(folder: Path, *more: str) -> Result:
    paths = {"config": "config.yaml", "dataset": "train.json", "output": "out/train.npy"}
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(folder / path))]
    return CliRunner().invoke(mgral, ["cache", *arguments, "--split", "train", *more])


def test_row_n_is_image_n(folder: Path) -> None:
    assert run(folder).exit_code == 0
    images = load_images(folder / "out" / "train.npy", load_dataset(folder / "train.json"), Canvas(12, 8)).stored
    assert images.shape == (3, 8, 12, 3)
    for number in range(3):
        assert (images[number] == [number * 50, 10, 200]).all()
    assert [path.name for path in (folder / "out").iterdir()] == ["train.npy"]


def test_threads_do_not_change_a_byte(folder: Path) -> None:
    run(folder, "--threads", "1")
    before = (folder / "out" / "train.npy").read_bytes()
    run(folder, "--threads", "3")
    assert (folder / "out" / "train.npy").read_bytes() == before


def test_root_replaces_the_configured_one(folder: Path) -> None:
    (folder / "set").rename(folder / "moved")
    assert isinstance(run(folder).exception, InputError)
    assert run(folder, "--root", str(folder / "moved")).exit_code == 0


def png() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png()[:2000], r"set/8\.png cannot be decoded .* replace the file"),
        (png()[:20], r"set/8\.png cannot be decoded"),
        (b"no image at all", r"set/8\.png cannot be decoded .* replace the file"),
        (b"", r"set/8\.png cannot be decoded"),
        (None, r"set/8\.png cannot be decoded .*No such file"),
    ],
    ids=["truncated", "header only", "text", "empty", "missing"],
)
def test_a_damaged_file_is_named_and_nothing_written(folder: Path, content: bytes | None, message: str) -> None:
    path = folder / "set" / "8.png"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    result = run(folder)
    assert isinstance(result.exception, InputError)
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert list((folder / "out").iterdir()) == []


def test_another_size_than_annotated_is_an_error(folder: Path) -> None:
    Image.new("RGB", (30, 7)).save(folder / "set" / "7.png")
    with pytest.raises(InputError, match=r"7\.png is 30 x 7 pixels, but 7 x 30 in the annotations"):
        decode_image(folder / "set" / "7.png", SIZES[2], Canvas(12, 8))


def test_orientation_is_not_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2), (255, 0, 0))
    image.paste((0, 0, 255), (2, 0, 4, 2))
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = decode_image(tmp_path / "turned.png", (4, 2), Canvas(4, 2))
    assert pixels[0, 0].tolist() == [255, 0, 0]


def test_scaling_down_averages(tmp_path: Path) -> None:
    """Without antialiasing a fine chequerboard would come out black or white."""
    board = ((np.indices((64, 64)).sum(axis=0) % 2) * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    pixels = decode_image(tmp_path / "board.png", (64, 64), Canvas(8, 8))
    assert pixels.shape == (8, 8, 3)
    assert np.abs(pixels.astype(int) - 127).max() < 10


def test_more_than_eight_bits_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png has more than 8 bits"):
        decode_image(tmp_path / "deep.png", (4, 4), Canvas(4, 4))


def test_synthetic_data_needs_a_root(folder: Path) -> None:
    (folder / "config.yaml").write_text("{data: {format: synthetic}}")
    with pytest.raises(InputError, match="pass --root"):
        raise run(folder).exception or AssertionError
