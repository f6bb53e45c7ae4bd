"""The step `groups`: what it writes and says."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mgral.artefacts.files import read_json, write_json
from mgral.cli.main import mgral
from mgral.data.groups import NearCopy, load_groups
from mgral.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four training and three test images; test image 6 is training image 3, twice, but a little lighter."""
    rng = np.random.default_rng(0)
    train = rng.integers(20, 200, (4, 24, 24), dtype=np.uint8)
    train[0] = train[2] + 1
    test = rng.integers(20, 200, (3, 24, 24), dtype=np.uint8)
    test[1] = train[2] + 3
    for name, ids, thumbnails in (("train", (1, 2, 3, 4), train), ("test", (5, 6, 7), test)):
        images = [{"id": i, "file_name": f"{i}.png", "width": 50, "height": 50} for i in ids]
        categories = [{"id": 1, "name": "a"}]
        write_json(tmp_path / f"{name}.json", {"images": images, "annotations": [], "categories": categories})
        np.save(tmp_path / f"{name}.npy", thumbnails)
    (tmp_path / "config.yaml").write_text("{near_copies: {difference: 2.5}}")
    return tmp_path


def run(folder: Path) -> Result:
    paths = {"config": "config.yaml", "dataset": "train.json", "test-dataset": "test.json"}
    paths |= {"thumbnails": "train.npy", "test-thumbnails": "test.npy", "output": "groups.json"}
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(folder / path))]
    return CliRunner().invoke(mgral, ["groups", *arguments])


def test_near_copies_are_written_and_counted(folder: Path) -> None:
    done = run(folder)
    assert done.exit_code == 0, done.output
    found = load_groups(folder / "groups.json")
    assert found.groups == ((1, 3),)
    assert found.pairs == (NearCopy(6, 1, 2.0),)
    assert "1 of 3 test images (33.3%) have a near-copy among the training images" in done.stderr
    assert "2 of 4 training images are in 1 groups" in done.stderr
    assert "  scores can be better than on new pictures" in done.stderr


def test_copies_among_the_test_images_are_counted(folder: Path) -> None:
    assert "copies" not in run(folder).stderr.replace("near-copies", "")
    thumbnails = np.load(folder / "test.npy")
    thumbnails[2] = thumbnails[0]
    np.save(folder / "test.npy", thumbnails)
    assert "1 test images have the thumbnail of an earlier one" in run(folder).stderr


def test_the_limit_is_a_setting(folder: Path) -> None:
    (folder / "config.yaml").write_text("{near_copies: {difference: 0.5}}")
    done = run(folder)
    assert read_json(folder / "groups.json") == {
        "groups": [], "pairs": [], "test_images": 3, "flat_test_images": 0,
    }  # fmt: skip
    assert "warning" not in done.stderr


@pytest.mark.parametrize("content", [np.zeros((3, 24, 24), np.uint8), np.zeros((4, 24, 24)), None])
def test_thumbnails_of_other_images_are_refused(folder: Path, content: np.ndarray | None) -> None:
    (folder / "train.npy").write_bytes(b"")
    if content is not None:
        np.save(folder / "train.npy", content)
    with pytest.raises(InputError, match=r"train\.npy .* run the step `cache` again"):
        raise run(folder).exception or AssertionError
    assert not (folder / "groups.json").exists()
