"""The step `data`: its files are written all or none, and what it prints where something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mgral.cli.main import mgral
from mgral.config import SyntheticData
from mgral.data.synthetic import write_synthetic
from mgral.errors import StepError

CONFIG = "{initial: 1, budget: 1, cycles: 1, data: {format: coco, root: ROOT}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of four training and two test images; one class that is listed has no box, which is repaired."""
    write_synthetic(SyntheticData(train_images=4, test_images=2), tmp_path / "set")
    path = tmp_path / "set/annotations/instances_train.json"
    coco = json.loads(path.read_text())
    path.write_text(json.dumps(coco | {"categories": [*coco["categories"], {"id": 99, "name": "unused"}]}))
    return tmp_path


def run(folder: Path, *more: str, config: str = CONFIG) -> Result:
    (folder / "config.yaml").write_text(config.replace("ROOT", str(folder / "set")))
    out = [f"--train={folder}/out/train.json", f"--test={folder}/out/test.json"]
    return CliRunner().invoke(mgral, ["data", f"--config={folder}/config.yaml", *out, *more])


@pytest.mark.parametrize("option", ["--test", "--repairs"])
def test_nothing_is_replaced_where_one_file_cannot_be_written(folder: Path, option: str) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "train.json").write_text("old")
    (folder / "file").touch()
    error = run(folder, f"{option}={folder}/file/x.json").exception
    assert isinstance(error, StepError)
    assert "x.json cannot be written" in str(error)
    assert [path.name for path in (folder / "out").iterdir()] == ["train.json"]
    assert (folder / "out" / "train.json").read_text() == "old"


@pytest.mark.parametrize(
    ("option", "path", "message"),
    [
        ("--test", "out/train.json", "to be written twice"),
        ("--repairs", "out/../out/test.json", "to be written twice"),
        ("--repairs", "set/annotations/instances_test.json", "is read by this step"),
        ("--test", "config.yaml", "is read by this step"),
    ],
)
def test_an_output_is_no_input_and_no_other_output(folder: Path, option: str, path: str, message: str) -> None:
    before = (folder / "set/annotations/instances_test.json").read_bytes()
    done = run(folder, f"{option}={folder / path}")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (folder / "out").exists()
    assert (folder / "set/annotations/instances_test.json").read_bytes() == before


def test_every_error_of_the_data_is_printed_as_json(folder: Path) -> None:
    [fault] = json.loads(run(folder, "--json", config=CONFIG.replace("budget: 1", "budget: 4")).stdout)["faults"]
    assert "but there are 4 training images" in fault["places"][0]
    [fault] = json.loads(run(folder, "--json", f"--root={folder}/gone").stdout)["faults"]
    assert "no such data folder" in fault["places"][0]
    assert not (folder / "out").exists()


def test_repairs_are_shown_beside_faults(folder: Path) -> None:
    done = run(folder, config=CONFIG.replace("budget: 1", "budget: 4"))
    assert "there are 4 training images" in str(done.exception)
    assert done.stderr.startswith("repaired or left out, which may have led to the faults:\n")
    assert "'unused' (id 99)" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_said_in_one_line(folder: Path, unbuffered: str) -> None:
    run(folder)
    arguments = ["data", "--config=config.yaml", "--train=train.json", "--test=test.json", "--json"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from mgral.cli.main import main; main()", *arguments],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.endswith(
        "\nmgral: standard output cannot be written (No space left on device); free space, run again\n"
    )
