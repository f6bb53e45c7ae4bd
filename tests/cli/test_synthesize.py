"""The step `synthesize`: the same pixels each time, true boxes, and a set in which the choice of images matters."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mgral.cli.main import mgral
from mgral.config import SyntheticData
from mgral.data import synthetic
from mgral.data.read import read_splits
from mgral.data.scenes import CLASSES, KINDS, SIZE, draw_scene, render_frame
from mgral.data.synthetic import plan_videos, write_synthetic
from mgral.errors import InputError


def run(folder: Path, data: str = "train_images: 8, test_images: 3, seed: 5") -> Result:
    config = folder / "config.yaml"
    config.write_text(f"{{initial: 2, budget: 1, cycles: 1, data: {{format: synthetic, {data}}}}}")
    return CliRunner().invoke(mgral, ["synthesize", "--config", str(config), "--output", str(folder / "set")])


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_writes_a_coco_folder_that_passes_every_check(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "provenance", "set"]
    checked = read_splits(SyntheticData(strict=True), tmp_path / "set")
    train, test = checked.train, checked.test
    assert not checked.findings.repairs
    assert [image["id"] for image in train["images"]] == list(range(1, 9))
    assert train["images"][0]["file_name"] == "train/000001.png"
    assert len(test["images"]) == 3
    assert [category["name"] for category in train["categories"]] == sorted(CLASSES)
    with Image.open(tmp_path / "set" / "test" / "000003.png") as image:
        assert (image.size, image.mode, image.info) == ((SIZE, SIZE), "RGB", {})


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    found = {}
    for name, seed in (("first", 5), ("again", 5), ("other", 6)):
        write_synthetic(SyntheticData(train_images=6, test_images=2, seed=seed), tmp_path / name)
        found[name] = digests(tmp_path / name)
    assert found["first"] == found["again"]
    pixels = [digest for path, digest in found["first"].items() if path.endswith(".png")]
    assert len(set(pixels)) == 8
    assert not set(pixels) & set(found["other"].values())


@pytest.mark.parametrize("images", [6, 12])
@pytest.mark.parametrize("seed", [0, 1])
def test_small_sets_show_every_class(tmp_path: Path, images: int, seed: int) -> None:
    data = SyntheticData(train_images=images, test_images=6, seed=seed)
    write_synthetic(data, tmp_path / "set")
    train = read_splits(data, tmp_path / "set").train
    assert len({annotation["category_id"] for annotation in train["annotations"]}) == len(CLASSES)


def test_kinds_are_unequal_in_training_and_closer_in_test() -> None:
    shares = {}
    for split in ("train", "test"):
        images: Counter[str] = Counter()
        for kind, frames in plan_videos(0, split, 400):
            images[kind.name] += frames
        assert images.total() == 400
        shares[split] = images
    assert shares["train"]["plain"] == pytest.approx(180, abs=3)
    assert max(shares["train"].values()) > 9 * min(shares["train"].values())
    assert max(shares["test"].values()) < 2 * min(shares["test"].values())


def test_two_fifths_of_the_training_images_are_videos() -> None:
    frames = [count for seed in range(10) for _, count in plan_videos(seed, "train", 480)]
    assert max(frames) == 6
    assert sum(count for count in frames if count > 1) / 4800 == pytest.approx(0.4, abs=0.06)
    assert {count for _, count in plan_videos(0, "test", 160)} == {1}


def test_two_classes_are_rare_in_training() -> None:
    boxes = dict.fromkeys(CLASSES, 0.0)
    for kind in KINDS:
        for name, weight in zip(CLASSES, kind.weights, strict=True):
            boxes[name] += kind.train_share * weight * sum(kind.objects) / 2
    common = sum(boxes.values()) / len(boxes)
    assert {name for name, count in boxes.items() if count < 0.7 * common} == {"cross", "star"}


def test_boxes_are_as_the_shapes_are_drawn() -> None:
    """What a single shape changes in a noiseless image is inside its box, and reaches the box's four sides."""
    for seed in range(20):
        kind = KINDS[0]._replace(objects=(1, 1), empty=0, clutter=0, noise=0)
        scene = draw_scene(kind, np.random.default_rng(seed))
        bare = scene.__class__(kind, scene.background, (), (), scene.camera)
        frame, behind = (render_frame(shown, 2, np.random.default_rng(seed)) for shown in (scene, bare))
        rows, columns = np.nonzero(np.abs(frame.pixels.astype(int) - behind.pixels).max(axis=2) > 8)
        ((x, y, width, height),) = frame.boxes
        changed = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert changed == pytest.approx((x, y, x + width, y + height), abs=1)


def test_every_scene_has_boxes_inside_the_image() -> None:
    rng = np.random.default_rng(0)
    for kind in KINDS:
        for number in range(6):
            frame = render_frame(draw_scene(kind, rng), number, rng)
            assert len(frame.boxes) == len(frame.labels) <= kind.objects[1]
            for x, y, width, height in frame.boxes:
                assert 0 <= x < x + width <= SIZE
                assert 0 <= y < y + height <= SIZE


def test_frames_of_a_video_nearly_repeat_each_other() -> None:
    rng = np.random.default_rng(1)
    first, other = draw_scene(KINDS[5], rng), draw_scene(KINDS[5], rng)
    frames = [render_frame(scene, step, rng) for scene, step in ((first, 0), (first, 1), (other, 0))]

    def distance(a: int, b: int) -> Any:
        means = [frames[i].pixels - frames[i].pixels.mean(axis=(0, 1)) for i in (a, b)]
        return np.abs(means[0] - means[1]).mean()

    assert frames[0].labels == frames[1].labels
    assert 0 < distance(0, 1) < 0.5 * distance(0, 2)


def test_a_crash_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr(synthetic, "render_frame", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        write_synthetic(SyntheticData(train_images=6, test_images=2), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_refuses_to_replace_a_folder(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").touch()
    error = run(tmp_path).exception
    assert isinstance(error, InputError)
    assert "delete it or name another folder" in str(error)
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["mine.txt"]


def test_refuses_data_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{data: {format: voc, root: x}}")
    arguments = ["synthesize", "--config", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "set")]
    error = CliRunner().invoke(mgral, arguments).exception
    assert isinstance(error, InputError)
    assert "data.format: voc is not synthetic" in str(error)
