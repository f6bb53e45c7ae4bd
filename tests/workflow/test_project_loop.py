"""Rounds of a project by the installed command and real steps: killed, moved, computed again by DVC."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from people import answer
from PIL import Image
from slow import SLOW, slow
from stopping import kill_group, start_group

from mgral.artefacts.files import read_json
from mgral.cli.tools.compare import compare
from mgral.labelling.ledger import read_ledger
from mgral.labelling.state import load_project

MGRAL = Path(sys.executable).with_name("mgral")
KILLS = int(os.environ.get("MGRAL_KILLS", "4" if SLOW else "2"))
SIZE, SQUARE = 48, 16
SETTINGS = {
    "detector": {"name": "small_ssd", "width": 32, "height": 32, "channels": 4},
    "training": {"batch_size": 4},
    "iterations": {"detector": 6},
    "near_copies": {"difference": 1.0},
    "embedding": {"dimensions": 4},
}


def corner(number: int) -> tuple[int, int]:
    """Return where the square of a picture is."""
    x, y = np.random.default_rng(number).integers(0, SIZE - SQUARE, 2).tolist()
    return x, y


def truth(names: set[str]) -> dict[str, list[tuple[float, float, float, float, str]]]:
    """Return the square of each picture by the stem of its file."""
    return {name: [(*map(float, corner(int(name[1:]))), SQUARE, SQUARE, "square")] for name in names}


def run(folder: Path, *words: str | Path, fails: int = 0) -> str:
    """Run a command of `mgral` in a folder, and return what it says."""
    done = subprocess.run(
        [MGRAL, *words],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        env=environment(folder),
    )
    assert done.returncode == fails, done.stdout
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return variables for a command of a project."""
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(folder / ".cache"),
        "OMP_NUM_THREADS": "1",
        "MGRAL_CHECKPOINT_SECONDS": "0",
    }


def give_back(project: Path, number: int) -> None:
    """Let people answer the tasks of a round, and import what they say."""
    tasks = project / f"round{number}" / "tasks" / "label_studio" / "label_studio.json"
    stems = {Path(task["data"]["image"]).stem for task in read_json(tasks)}
    export = project / f"answers{number}.json"
    answer(tasks, export, truth(stems), dict.fromkeys(stems, (SIZE, SIZE)))
    run(project, "project", "import", export)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A project whose first round has come back."""
    folder = tmp_path_factory.mktemp("loop")
    (folder / "photos").mkdir()
    for number in range(1, 41):
        pixels = np.random.default_rng(number).integers(0, 60, (SIZE, SIZE, 3)).astype(np.uint8)
        x, y = corner(number)
        pixels[y : y + SQUARE, x : x + SQUARE] = 255
        Image.fromarray(pixels).save(folder / "photos" / f"p{number}.png")
    options = ["--pictures", "photos", "--classes", "square", "--budget", "25", "--batch", "5"]
    run(folder, "project", "init", "mine", *options)
    project = folder / "mine"
    settings = yaml.safe_load((project / "project.yaml").read_text())
    (project / "project.yaml").write_text(yaml.safe_dump(settings | {"settings": SETTINGS}))
    run(project, "project", "next", "--cores", "1")
    give_back(project, 1)
    return folder


@pytest.fixture(scope="module")
def whole(begun):
    """The same project after an undisturbed second round."""
    folder = begun.parent / "whole"
    shutil.copytree(begun, folder, symlinks=True)
    said = run(folder / "mine", "project", "next", "--cores", "1")
    assert "round 2: 5 pictures to label" in said
    return folder


def batch(project: Path) -> tuple[object, dict[str, bytes]]:
    """Return what was sent in all rounds, and the files of the batches."""
    sent = [line.events for line in read_ledger(project) if line.what == "sent"]
    files = {
        str(path.relative_to(project)): path.read_bytes()
        for number in load_project(project).rounds
        for path in sorted((project / f"round{number}").rglob("*"))
        if path.is_file()
    }
    return sent, files


@slow
@pytest.mark.timeout(2400)
def test_a_round_killed_at_random_moments_ends_with_the_same_batch(begun, whole, tmp_path):
    """Nothing is lost, and no picture is sent twice."""
    moments, kills, runs = random.Random(0), 0, 0
    longest = 25.0
    while kills < KILLS:
        folder = tmp_path / f"run{runs}"
        shutil.copytree(begun, folder, symlinks=True)
        project, log = folder / "mine", folder / "log"
        while True:
            process = start_group([MGRAL, "project", "next", "--cores", "1"], log, environment(folder), project)
            end = time.monotonic() + moments.uniform(0, longest)
            while process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            if process.poll() is not None or kills == KILLS:
                break
            kill_group(process)
            kills += 1
        code = process.wait()
        # Killed after its last change, the batch was made, and nothing of it has come back.
        assert code == 0 or "nothing of round 2 has come back" in log.read_text(), log.read_text()
        assert batch(project) == batch(whole / "mine")
        assert compare(project / "results" / "round2", whole / "mine" / "results" / "round2").different == []
        assert not list((project / "results").rglob("*.checkpoint"))
        assert not list(project.glob(".round*"))
        runs += 1


@slow
@pytest.mark.timeout(900)
def test_a_project_can_be_moved_and_goes_on(whole, tmp_path):
    """The folder of pictures lies beside it; nothing that is finished is made again."""
    shutil.copytree(whole, tmp_path / "elsewhere", symlinks=True)
    project = tmp_path / "elsewhere" / "mine"
    before = {path: path.stat().st_mtime_ns for path in (project / "results").rglob("*.safetensors")}
    give_back(project, 2)
    said = run(project, "project", "next", "--cores", "1")
    assert "round 3: 5 pictures to label" in said
    assert not re.search(r"\d+/\d+  pictures", said)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "detector of round 3, on the audit set" in run(project, "project", "status")


@slow
@pytest.mark.timeout(1800)
def test_dvc_computes_all_rounds_again_to_the_same_bytes(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "again", symlinks=True)
    project = tmp_path / "again" / "mine"
    shutil.rmtree(project / "results")
    shutil.rmtree(project / ".snakemake", ignore_errors=True)
    run(project, "project", "dvc")
    variables = environment(project) | {"PATH": f"{MGRAL.parent}:{os.environ['PATH']}"}
    for words in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"], ["dvc", "repro", "--quiet"]):
        done = subprocess.run(words, cwd=project, env=variables, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    for number in (1, 2):
        found = compare(project / "results" / f"round{number}", whole / "mine" / "results" / f"round{number}")
        assert found.different == []
