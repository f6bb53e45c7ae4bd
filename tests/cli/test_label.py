"""The step `label`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.errors import InputError


def run(folder: Path, labelled: object, selected: object) -> Result:
    images = [{"id": number, "file_name": f"{number}.png", "width": 8, "height": 8} for number in range(1, 11)]
    write_json(folder / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    write_json(folder / "labelled.json", labelled)
    write_json(folder / "selection.json", selected)
    (folder / "next.json").unlink(missing_ok=True)
    paths = {name: f"{name}.json" for name in ("labelled", "selection")} | {
        "dataset": "train.json",
        "output": "next.json",
    }
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(folder / path))]
    return CliRunner().invoke(mgral, ["label", *arguments])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 10), unique=True), st.integers(0, 10))
def test_the_next_set_is_the_sorted_union(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], split: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    selection = {"strategy": "random", "images": ids[split:], "scores": [0.0] * len(ids[split:])}
    assert run(folder, {"images": sorted(ids[:split])}, selection).exit_code == 0
    assert json.loads((folder / "next.json").read_text()) == {"images": sorted(ids)}


@pytest.mark.parametrize(
    ("labelled", "selected", "message"),
    [
        ({"images": [1, 2]}, {"images": [3, 2]}, r"selection: images \[2\] are labelled already"),
        ({"images": [1, 2]}, {"images": [3, 99]}, r"selection: images \[99\] are not in the data set"),
        ({"images": [1, 99]}, {"images": [3]}, r"labelled: images \[99\] are not in"),
        ({"images": [1]}, {"images": [3, 3]}, r"selection\.json: `images` names an image more than once"),
        ({"images": [1]}, {"images": ["3"]}, r"selection\.json: `images` is not a list of image ids"),
        ([1], {"images": [3]}, r"labelled\.json: `images` is not a list"),
    ],
)
def test_refuses_and_writes_nothing(tmp_path: Path, labelled: object, selected: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        raise run(tmp_path, labelled, selected).exception or AssertionError
    assert not (tmp_path / "next.json").exists()
