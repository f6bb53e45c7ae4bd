"""What is left of a run that was killed, and of artefacts that were changed behind the engines' back."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_workflow import ROOT, TINY, snakemake
from slow import SLOW, slow
from stopping import kill_group, start_group

from mgral.cli.tools.compare import compare

KILLS = int(os.environ.get("MGRAL_KILLS", "4" if SLOW else "2"))
LONGEST = 8.0
"""Seconds: a few jobs of the tiny experiment."""
CHAIN = "results/tiny/seed0/strategies/mgral/cycle2/metrics.json"
"""The end of the longest chain of jobs; the other strategies' are of the same kinds."""


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Start the chain of the tiny experiment, its trainings with a checkpoint at every iteration."""
    variables = {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "OMP_NUM_THREADS": "1",
        "MGRAL_CHECKPOINT_SECONDS": "0",
    }
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--cores", "2"]
    return start_group([*command, CHAIN, "--configfile", TINY], folder / "snakemake.log", variables, folder)


def finish(folder: Path, undisturbed: Path) -> None:
    """Run to the end and hold the result against that of the undisturbed run."""
    unlocked = snakemake(folder, "--unlock", "--configfile", TINY)
    assert unlocked.returncode == 0, unlocked.stdout
    done = snakemake(folder, CHAIN, "--cores", "2", "--configfile", TINY)
    assert done.returncode == 0, done.stdout
    assert (folder / CHAIN).exists()
    assert compare(folder / "results" / "tiny", undisturbed / "results" / "tiny").different == []
    assert not list((folder / "results").rglob("*.checkpoint"))


@slow
@pytest.mark.timeout(2400)
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(undisturbed, tmp_path):
    moments = random.Random(0)
    kills = runs = 0
    folder = tmp_path / "run0"
    folder.mkdir()
    while kills < KILLS:
        process = start(folder)
        end = time.monotonic() + moments.uniform(0, LONGEST)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if process.poll() is None:
            kill_group(process)
            kills += 1
            snakemake(folder, "--unlock", "--configfile", TINY)
        else:
            assert process.returncode == 0, (folder / "snakemake.log").read_text()
            finish(folder, undisturbed)
            runs += 1
            folder = tmp_path / f"run{runs}"
            folder.mkdir()
    finish(folder, undisturbed)


def edit_reward(path: Path) -> None:
    values = json.loads(path.read_text())
    values["variants"][1]["map"] += 0.25
    path.write_text(json.dumps(values))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_last_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("artefact", "reader", "change"),
    [
        (
            "seed0/initial/cycle0/tables/default/split0/variants0-1.json",
            "seed0/initial/cycle0/tables/default/split0/default/table.safetensors",
            edit_reward,
        ),
        (
            "seed0/initial/cycle0/tables/default/split0/default/table.safetensors",
            "seed0/strategies/mgral/cycle0/selection.json",
            cut_in_half,
        ),
        ("seed0/strategies/entropy_anchors/cycle1/detector.safetensors", "report.html", flip_last_bit),
        ("dataset/test.npy", "seed0/strategies/random/cycle1/metrics.json", flip_last_bit),
    ],
)
def test_an_altered_artefact_is_named_and_made_again(undisturbed, tmp_path, artefact, reader, change):
    """The first job that reads it names it; what it led to until then is made again with it, to the same bytes."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    path = Path("results/tiny") / artefact
    read_last = tmp_path / "results/tiny" / reader
    before = read_last.read_bytes()
    change(tmp_path / path)
    run = (tmp_path, Path("results/tiny") / reader, "--cores", "2", "--configfile", TINY)
    failed = snakemake(*run)
    assert failed.returncode == 1
    assert f"mgral: {path} is not what step" in failed.stdout
    (tmp_path / path).unlink()
    done = snakemake(*run)
    assert done.returncode == 0, done.stdout
    assert read_last.read_bytes() == before
    assert compare(tmp_path / "results" / "tiny", undisturbed / "results" / "tiny").different == []
