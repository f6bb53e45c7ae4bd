"""What is left of a run that was killed, and of artefacts that were changed behind the engines' back."""

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
from mgral.engine.verification import verify

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


@slow
@pytest.mark.timeout(900)
def test_an_altered_artefact_is_named_and_made_again(undisturbed, tmp_path):
    """What it led to is made again with it, to the same bytes."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    results = tmp_path / "results" / "tiny"
    path = results / "seed0/strategies/entropy_anchors/cycle2/detector.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    _, faults = verify(results)
    named = {str(Path(fault.artefact).relative_to("seed0/strategies/entropy_anchors/cycle2")) for fault in faults}
    assert named == {"detector.safetensors", "metrics.json", "detections.json"}
    forced = path.relative_to(tmp_path)
    done = snakemake(tmp_path, "--cores", "2", "--configfile", TINY, "--forcerun", forced)
    assert done.returncode == 0, done.stdout
    assert verify(results)[1] == []
    found = compare(results, undisturbed / "results" / "tiny")
    assert found.different == found.missing == []
