"""Rounds of a project by the installed command and real steps: killed, moved, computed again by DVC."""

import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from installed_command import MGRAL, SETTINGS, SIZE, environment, run, truth, write_photos
from people import answer
from slow import SLOW, full, slow
from stopping import kill_group, start_group

from mgral.artefacts.files import read_json
from mgral.cli.tools.compare import compare
from mgral.labelling.ledger import read_ledger
from mgral.labelling.state import load_project

KILLS = int(os.environ.get("MGRAL_KILLS", "4" if SLOW else "2"))


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
    write_photos(folder / "photos")
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


@full
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
        assert code == 0 or "no label of round 2 was imported" in log.read_text(), log.read_text()
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


@full
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
