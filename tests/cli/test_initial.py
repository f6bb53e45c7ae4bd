"""The step `initial`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.errors import InputError

IDS = [40, 3, 17, 28, 9, 51, 66, 70, 85, 91]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = [{"id": number, "file_name": f"{number}.png", "width": 8, "height": 8} for number in IDS]
    write_json(tmp_path / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    (tmp_path / "config.yaml").write_text("initial: 4")
    return tmp_path


def run(folder: Path, *more: str) -> Result:
    paths = {"config": "config.yaml", "dataset": "train.json", "output": "labelled.json"}
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(folder / path))]
    return CliRunner().invoke(mgral, ["initial", *arguments, *more])


def drawn(folder: Path, seed: int) -> list[int]:
    assert run(folder, "--seed", str(seed)).exit_code == 0
    content = json.loads((folder / "labelled.json").read_text())
    assert list(content) == ["images"]
    images: list[int] = content["images"]
    return images


def test_draws_distinct_known_ids_in_ascending_order(folder: Path) -> None:
    images = drawn(folder, 0)
    assert images == sorted(set(images) & set(IDS))
    assert len(images) == 4


def test_the_seed_alone_decides(folder: Path) -> None:
    draws = [drawn(folder, seed) for seed in (0, 1, 2, 0)]
    assert draws[0] == draws[3]
    assert len({tuple(draw) for draw in draws}) == 3


def test_every_image_is_as_likely(folder: Path) -> None:
    """100 draws of 4 from 10: 40 of each, standard deviation 4.9."""
    counts = dict.fromkeys(IDS, 0)
    for seed in range(100):
        for image in drawn(folder, seed):
            counts[image] += 1
    assert min(counts.values()) > 22
    assert max(counts.values()) < 58


def test_all_labels_every_image(folder: Path) -> None:
    assert run(folder, "--seed", "0", "--all").exit_code == 0
    assert json.loads((folder / "labelled.json").read_text()) == {"images": sorted(IDS)}


def test_more_than_there_are_is_an_error(folder: Path) -> None:
    (folder / "config.yaml").write_text("initial: 11")
    error = run(folder, "--seed", "0").exception
    assert isinstance(error, InputError)
    assert "11 images asked for" in str(error)
    assert not (folder / "labelled.json").exists()


def snapshot(folder: Path, **more: object) -> str:
    labelled = [{"id": number, "boxes": [], "incomplete": []} for number in (3, 9, 17, 40, 1000)]
    content = {"project": "p", "round": 0, "chunks": [], "classes": [], "audit": [], "left_out": []}
    write_json(folder / "snapshot.json", content | {"labelled": labelled} | more)
    return str(folder / "snapshot.json")


def test_of_a_project_each_detector_leaves_out_what_the_snapshot_says(folder: Path) -> None:
    """And a snapshot of before, that says nothing of it, leaves out nothing."""

    def learnt(seed: int, **more: object) -> list[int]:
        assert run(folder, "--seed", str(seed), "--snapshot", snapshot(folder, **more)).exit_code == 0
        images: list[int] = json.loads((folder / "labelled.json").read_text())["images"]
        return images

    assert learnt(7) == [3, 9, 17, 40]
    without = [[3, 17], [], [40, 1000]]
    assert [learnt(seed, without=without) for seed in range(3)] == [[9, 40], [3, 9, 17, 40], [3, 9, 17]]


@pytest.mark.parametrize("seed", ["-1", "1"])
def test_a_repetition_that_the_snapshot_does_not_know_is_an_error(folder: Path, seed: str) -> None:
    error = run(folder, "--seed", seed, "--snapshot", snapshot(folder, without=[[3]])).exception
    assert isinstance(error, InputError)
    assert f"repetitions 0 to 0; there is none {seed}" in str(error)
