"""Commands of the pages that need no hours, run as they are written, on a tiny experiment and small data."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from installed_command import MGRAL
from pages import DOCS, blocks
from run_workflow import ROOT
from slow import slow

from mgral.config import SyntheticData
from mgral.data.synthetic import write_synthetic

CLONE = {".venv/bin/snakemake": "mgral snakemake", ".venv/bin/mgral": "mgral"}
"""What stands for a clone's commands elsewhere, as docs/install.md says."""
RESULTS = {"results/synthetic": "tiny/results/tiny", "../another-clone/": ""}
"""A finished experiment in the place of those of the pages."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, undisturbed):
    """Return a folder with mine.yaml, its data, and a finished experiment."""
    folder = tmp_path_factory.mktemp("reader")
    write_synthetic(SyntheticData(train_images=32, test_images=8), folder / "data")
    mine = {"data": {"format": "coco", "root": "data"}, "detector": {"name": "small_ssd"}, "initial": 8, "budget": 4}
    (folder / "mine.yaml").write_text(yaml.safe_dump(mine))
    (folder / "config").symlink_to(ROOT / "config")
    (folder / "tiny").symlink_to(undisturbed)
    return folder


def shell(folder: Path, command: str) -> str:
    for written, meant in (CLONE | RESULTS).items():
        command = command.replace(written, meant)
    variables = {**os.environ, "PATH": f"{MGRAL.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=variables, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, command + done.stdout + done.stderr
    return done.stdout + done.stderr


@slow
@pytest.mark.parametrize(
    ("page", "beginning", "says", "writes"),
    [
        ("quick-start.md", ".venv/bin/mgral estimate", "images trained on", ""),
        ("your-data.md", ".venv/bin/mgral data", "", "train.json"),
        ("data-formats.md", ".venv/bin/mgral convert", "", "mine-yolo/data.yaml"),
        ("reproducing.md", ".venv/bin/mgral compare", "", ""),
        ("reproducing.md", ".venv/bin/mgral verify", "", ""),
    ],
)
def test_a_command_of_a_page_does_what_the_page_says(folder, page, beginning, says, writes):
    (block,) = [one.text for one in blocks(DOCS / page, "sh") if one.text.startswith(beginning)]
    said = shell(folder, block.replace("/data/mine-yolo", "mine-yolo"))
    assert says in said
    assert (folder / writes).exists()


@slow
def test_the_plan_of_the_readers_own_data_is_made(folder):
    commands = [one.text for one in blocks(DOCS / "your-data.md", "sh") if "snakemake" in one.text]
    assert len(commands) == 2
    for command in commands:
        assert "jobs would run" in shell(folder, command.strip() + " --dry-run")
