"""The step `cache`: the arrays of both splits, and all that is wrong with any image in one pass."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mgral.artefacts.files import read_json, write_json
from mgral.cli.main import mgral
from mgral.config import load_config
from mgral.config.canvas import Canvas
from mgral.data.dataset import load_dataset
from mgral.data.findings import FaultyDataError
from mgral.data.images import load_images
from mgral.errors import InputError, StepError

SIZES = ((16, 8), (40, 40), (7, 30))
WRITTEN = ["pictures.json", "test.npy", "test.thumbnails.npy", "train.npy", "train.thumbnails.npy"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images a split, each of one colour and its own size, listed in another order than their names'."""
    for split in ("train", "test"):
        (tmp_path / "set" / split).mkdir(parents=True)
        images = []
        for number, size in enumerate(SIZES):
            name = f"{split}/{9 - number}.png"
            Image.new("RGB", size, (number * 50, 10, 200)).save(tmp_path / "set" / name)
            images.append({"id": number, "file_name": name, "width": size[0], "height": size[1]})
        coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
        write_json(tmp_path / f"{split}.json", coco)
    configure(tmp_path)
    return tmp_path


def configure(folder: Path, data: str = "", detector: str = "width: 12, height: 8") -> None:
    (folder / "config.yaml").write_text(
        f"{{data: {{format: coco, root: {folder / 'set'}{data}}}, detector: {{{detector}}}}}"
    )


def run(folder: Path, *more: str) -> Result:
    arguments = [f"--config={folder}/config.yaml", f"--pictures={folder}/out/pictures.json"]
    for split in ("train", "test"):
        written = folder / "out" / split
        arguments += [f"--split={split}", f"--dataset={folder}/{split}.json", f"--output={written}.npy"]
        arguments += [f"--thumbnails={written}.thumbnails.npy"]
    return CliRunner().invoke(mgral, ["cache", *arguments, *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def test_row_n_is_image_n(folder: Path) -> None:
    Image.new("RGB", SIZES[1], (9, 9, 9)).save(folder / "set" / "test" / "8.png")
    done = run(folder)
    assert done.exit_code == 0, done.output
    expected = {"train": [(n * 50, 10, 200) for n in range(3)], "test": [(0, 10, 200), (9, 9, 9), (100, 10, 200)]}
    for split, colours in expected.items():
        dataset = load_dataset(folder / f"{split}.json")
        images = load_images(folder / "out" / f"{split}.npy", dataset, Canvas(12, 8)).stored
        assert images.shape == (3, 8, 12, 3)
        assert [image[0, 0].tolist() for image in images] == [list(colour) for colour in colours]
        assert (images == images[:, :1, :1]).all()
    assert list(contents(folder)) == WRITTEN
    assert read_json(folder / "out" / "pictures.json") == []
    assert done.stderr.strip() == ""


def test_thumbnails_are_the_means_of_what_they_cover(folder: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (24, 24), dtype=np.uint8)
    large = np.kron(values, np.array([[1, 1], [1, 1]], np.uint8))
    Image.fromarray(large).save(folder / "set" / "train" / "8.png")
    coco = read_json(folder / "train.json")
    coco["images"][1] |= {"width": 48, "height": 48}
    write_json(folder / "train.json", coco)
    assert run(folder).exit_code == 0
    thumbnails = np.load(folder / "out" / "train.thumbnails.npy")
    assert (thumbnails.shape, thumbnails.dtype) == ((3, 24, 24), np.uint8)
    np.testing.assert_array_equal(thumbnails[1], values)
    assert np.ptp(thumbnails[0]) == 0


def test_threads_do_not_change_a_byte(folder: Path) -> None:
    run(folder, "--threads", "1")
    before = contents(folder)
    run(folder, "--threads", "3")
    assert contents(folder) == before


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
        (png()[:2000], "Images cannot be decoded (1): replace"),
        (png()[:20], "Images cannot be decoded (1): replace"),
        (b"no image at all", "Files are of no format that is read (1): convert"),
        (b"", "Files are of no format that is read (1): convert"),
        (None, "Images are not on disk (1): put"),
    ],
    ids=["truncated", "header only", "text", "empty", "missing"],
)
@pytest.mark.parametrize("kind", ["decoded", "encoded"])
def test_a_damaged_file_is_named_and_nothing_written(
    folder: Path, content: bytes | None, message: str, kind: str
) -> None:
    if kind == "encoded":
        configure(folder, detector="name: retinanet_resnet50_fpn, cache: encoded")
    path = folder / "set" / "train" / "8.png"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    error = run(folder).exception
    assert isinstance(error, FaultyDataError)
    assert message in str(error)
    assert "\n    train/8.png" in str(error)
    assert list((folder / "out").iterdir()) == []


def test_all_faulty_images_are_in_the_log(folder: Path) -> None:
    missing = [path for split in ("train", "test") for path in sorted((folder / "set" / split).iterdir())]
    for path in missing:
        path.unlink()
    done = run(folder)
    assert "and 1 more (the log of the step lists all, above this message)" in str(done.exception)
    assert all(f"\n    {path.parent.name}/{path.name}" in done.stderr for path in missing)


def test_all_faults_of_both_splits_come_at_once_and_the_old_cache_stays(folder: Path) -> None:
    assert run(folder).exit_code == 0
    before = contents(folder)
    (folder / "set" / "train" / "9.png").unlink()
    (folder / "set" / "test" / "8.png").unlink()
    (folder / "set" / "train" / "8.png").write_bytes(png()[:2000])
    Image.new("RGB", (30, 7)).save(folder / "set" / "test" / "7.png")
    Image.fromarray(np.full((30, 7), 40000, np.uint16)).save(folder / "set" / "train" / "7.png")
    done = run(folder, "--json")
    error = done.exception
    assert isinstance(error, FaultyDataError)
    assert str(error).startswith("the data set cannot be used: 5 faults of 4 kinds; nothing is written\n")
    assert "Images are not on disk (2): put" in str(error)
    listed = {fault["kind"]: fault["places"] for fault in json.loads(done.stdout)["faults"]}
    assert sorted(map(tuple, listed.values())) == [
        ("test/7.png is 30 x 7 pixels, annotated 7 x 30",),
        ("train/7.png (mode I;16)",),
        ("train/8.png (image file is truncated)",),
        ("train/9.png", "test/8.png"),
    ]
    assert contents(folder) == before


def turn(path: Path, size: tuple[int, int], orientation: int = 6) -> None:
    """Replace a picture by one of the stored size whose left half is red, the rest blue."""
    image = Image.new("RGB", size, (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)


@pytest.mark.parametrize("detector", ["width: 8, height: 16", "name: retinanet_resnet50_fpn, cache: encoded"])
def test_pictures_are_turned_upright_with_a_count(folder: Path, detector: str) -> None:
    """Whether the cache holds pixels or files: who reads it gives no settings."""
    configure(folder, detector=detector)
    turn(folder / "set" / "train" / "7.png", (30, 7))
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "Images were turned upright (1): as EXIF says" in done.stderr
    [repair] = read_json(folder / "out" / "pictures.json")
    assert (repair["count"], repair["places"]) == (1, ["train/7.png"])
    canvas = load_canvas(folder)
    pixels = load_images(folder / "out" / "train.npy", load_dataset(folder / "train.json"), canvas).image(2)
    # The left of the stored picture is the top of the upright one (orientation 6).
    assert pixels[0, -1].tolist() == [255, 0, 0]
    assert pixels[-1, 0].tolist() == [0, 0, 255]


def load_canvas(folder: Path) -> Canvas:
    return load_config(folder / "config.yaml").detector.image_canvas


def test_an_ignored_orientation_is_ignored_by_who_reads_packed_files(folder: Path) -> None:
    configure(folder, ", exif: ignore", "name: retinanet_resnet50_fpn, cache: encoded")
    turn(folder / "set" / "train" / "7.png", (7, 30))
    done = run(folder)
    assert "Images were left as stored (1)" in done.stderr
    images = load_images(folder / "out" / "train.npy", load_dataset(folder / "train.json"), load_canvas(folder))
    pixels = images.image(2)
    assert pixels[0, 0].tolist() == pixels[-1, 0].tolist() == [255, 0, 0]


def test_a_size_that_fits_the_other_setting_says_so(folder: Path) -> None:
    turn(folder / "set" / "train" / "7.png", (7, 30))
    turn(folder / "set" / "test" / "7.png", (7, 30))
    with pytest.raises(FaultyDataError, match=r"only without the turn that .* \(2\): set `data.exif: ignore"):
        raise run(folder).exception or AssertionError
    configure(folder, ", exif: ignore")
    assert run(folder).exit_code == 0
    turn(folder / "set" / "train" / "7.png", (30, 7))
    turn(folder / "set" / "test" / "7.png", (30, 7))
    with pytest.raises(FaultyDataError, match=r"only when turned .* \(2\): set `data.exif: apply"):
        raise run(folder).exception or AssertionError


@pytest.mark.parametrize("setting", ["apply", "ignore"])
def test_of_a_mixed_set_both_sorts_are_counted(folder: Path, setting: str) -> None:
    configure(folder, f", exif: {setting}")
    turn(folder / "set" / "train" / "9.png", (8, 16))
    turn(folder / "set" / "train" / "7.png", (7, 30))
    turn(folder / "set" / "test" / "7.png", (30, 7))
    turn(folder / "set" / "train" / "8.png", (40, 40))  # a square says nothing
    other = 2 if setting == "apply" else 1
    with pytest.raises(FaultyDataError, match=f"{other} others .* only .*, so no `data.exif` fits all") as caught:
        raise run(folder).exception or AssertionError
    assert f" ({3 - other}): {other} others" in str(caught.value)


def test_deep_grey_and_the_limit_of_pixels_are_settings(folder: Path) -> None:
    Image.fromarray(np.full((30, 7), 40000, np.uint16)).save(folder / "set" / "train" / "7.png")
    configure(folder, ", deep_grey: full_range, max_pixels: 1600")
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "Grey images of more than 8 bits were scaled (1): from the full range" in done.stderr
    images = load_images(folder / "out" / "train.npy", load_dataset(folder / "train.json"), Canvas(12, 8)).stored
    assert (images[2] == round(40000 / 65535 * 255)).all()
    configure(folder, ", deep_grey: full_range, max_pixels: 1598")
    with pytest.raises(FaultyDataError, match=r"more pixels than `max_pixels` allows \(2\): set"):
        raise run(folder).exception or AssertionError


def test_scaling_down_averages(folder: Path) -> None:
    """Without antialiasing a fine chequerboard would come out black or white."""
    board = ((np.indices((40, 40)).sum(axis=0) % 2) * 255).astype(np.uint8)
    Image.fromarray(board).save(folder / "set" / "train" / "8.png")
    configure(folder, detector="width: 8, height: 8")
    run(folder)
    pixels = np.load(folder / "out" / "train.npy")[1]
    assert np.abs(pixels.astype(int) - 127).max() < 10


def test_synthetic_data_needs_a_root(folder: Path) -> None:
    (folder / "config.yaml").write_text("{data: {format: synthetic}}")
    with pytest.raises(InputError, match="pass --root"):
        raise run(folder).exception or AssertionError


def test_one_split_by_itself(folder: Path) -> None:
    run(folder)
    given = [f"--config={folder}/config.yaml", f"--dataset={folder}/train.json", "--split=train"]
    alone = ["cache", *given, f"--output={folder}/alone.npy"]
    assert CliRunner().invoke(mgral, alone).exit_code == 0
    assert (folder / "alone.npy").read_bytes() == contents(folder)["train.npy"]
    done = CliRunner().invoke(mgral, [*alone, "--split=test"])
    assert done.exit_code == 2
    assert "for each --dataset, in one order" in done.output


def test_nothing_is_replaced_where_one_file_cannot_be_written(folder: Path) -> None:
    assert run(folder).exit_code == 0
    before = contents(folder)
    Image.new("RGB", SIZES[0], (9, 9, 9)).save(folder / "set" / "train" / "9.png")
    with pytest.raises(StepError, match=r"x\.json cannot be written"):
        raise run(folder, f"--pictures={folder / 'config.yaml' / 'x.json'}").exception or AssertionError
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("output", "message"),
    [("out/train.npy", "to be written twice"), ("test.json", "is read by"), ("out/pictures.json", "written twice")],
)
def test_an_output_is_no_input_and_no_other_output(folder: Path, output: str, message: str) -> None:
    more = ["--split=test", f"--dataset={folder}/test.json", f"--output={folder / output}"]
    done = run(folder, *more, f"--thumbnails={folder}/out/more.npy")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (folder / "out").exists()


def test_repairs_are_shown_beside_faults(folder: Path) -> None:
    turn(folder / "set" / "train" / "7.png", (30, 7))
    (folder / "set" / "test" / "8.png").unlink()
    done = run(folder)
    assert "Images are not on disk (1)" in str(done.exception)
    assert "Images were turned upright (1)" in done.stderr


@pytest.mark.parametrize(("width", "split"), [(1000, "train"), (500, "test")])
def test_a_disk_that_is_full_has_room_for_the_message(folder: Path, width: int, split: str) -> None:
    """The log is on the same disk of 12 MB, which the first array fills (12.6 MB), or the second (6.3 MB each)."""
    configure(folder, detector=f"width: {width}, height: 1400")
    (folder / "out").mkdir()
    outputs = [f"--split={name} --dataset={name}.json --output=out/{name}.npy" for name in ("train", "test")]
    disk = "truncate -s 12M disk && mkfs.ext4 -q -m 0 disk && mount -o loop disk out || exit 77"
    command = f"{sys.executable} -m mgral cache --config=config.yaml {' '.join(outputs)} 2> out/log"
    script = f"{disk}\n{command}\ncode=$?\ncat out/log\nexit $code"
    unshared = ["unshare", "--mount", "bash", "-c", script]
    done = subprocess.run(unshared, cwd=folder, text=True, capture_output=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no disk can be mounted here")
    assert done.returncode == 1
    assert f"out/{split}.npy cannot be written (No space left on device); free space" in done.stdout
