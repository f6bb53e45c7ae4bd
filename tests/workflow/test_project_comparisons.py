"""Checks of labels and comparisons with controls by the installed command and real steps."""

import csv
import time
from pathlib import Path

import pytest
import yaml
from installed_command import MGRAL, SETTINGS, SIZE, environment, run, truth, write_photos
from people import answer
from slow import full, slow
from stopping import kill_group, start_group

from mgral.artefacts.files import read_json
from mgral.labelling.state import load_project

BATCH = "20"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A project whose first round has come back: an audit set, ten chosen pictures and ten controls."""
    folder = tmp_path_factory.mktemp("comparisons")
    write_photos(folder / "photos")
    run(
        folder,
        "project",
        "init",
        "mine",
        "--pictures",
        "photos",
        "--classes",
        "square",
        "--budget",
        "40",
        "--batch",
        BATCH,
    )
    project = folder / "mine"
    settings = yaml.safe_load((project / "project.yaml").read_text())
    more = {"settings": SETTINGS, "control": 0.5, "audit": 5}
    (project / "project.yaml").write_text(yaml.safe_dump(settings | more))
    run(project, "project", "next", "--cores", "1", "--format", "label_studio")
    tasks = project / "round1" / "tasks" / "label_studio" / "label_studio.json"
    stems = {Path(task["data"]["image"]).stem for task in read_json(tasks)}
    answer(tasks, project / "answers.json", truth(stems), dict.fromkeys(stems, (SIZE, SIZE)))
    run(project, "project", "import", project / "answers.json")
    return project


def drawn_in(project: Path) -> tuple[set[int], set[int]]:
    """Return the images that were chosen and those that were drawn, of the pool of the first round."""
    found = load_project(project)
    return found.chosen[1], found.controls[1]


@slow
@pytest.mark.timeout(900)
def test_a_batch_has_controls_of_the_pool(labelled):
    chosen, controls = drawn_in(labelled)
    assert (len(chosen), len(controls)) == (10, 10)
    sent = load_project(labelled).sent[1]
    assert len(sent) == 5 + len(chosen | controls)
    with (labelled / "round1" / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        drawn = {int(row["image"]) for row in csv.DictReader(file) if "as a control" in row["reason"]}
    assert drawn == controls


@slow
@pytest.mark.timeout(1200)
def test_a_check_that_is_killed_goes_on_and_each_detector_leaves_out_its_part(labelled):
    log = labelled / "log"
    words = [MGRAL, "project", "check", "--folds", "2", "--cores", "1"]
    process = start_group(words, log, environment(labelled), labelled)
    results = labelled / "results" / "check1"
    end = time.monotonic() + 300
    while process.poll() is None and not list(results.glob("seed*/initial/cycle0/detector.*")):
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    kill_group(process)
    process.wait()
    said = run(labelled, "project", "check", "--folds", "2", "--cores", "1")
    assert "check1: 2 detectors, each trained without the labels of one part in 2" in said
    assert "on the audit set, which is a random sample" in said
    snapshot = read_json(labelled / "check1" / "snapshot.json")
    ids = {one["id"] for one in snapshot["labelled"]}
    for fold, part in enumerate(snapshot["without"]):
        folder = results / f"seed{fold}" / "initial" / "cycle0"
        assert set(read_json(folder / "labelled.json")["images"]) == ids - set(part)
        assert {one["image_id"] for one in read_json(folder / "held_out.json")} <= set(part)
        assert (folder / "metrics.json").exists()
    assert not list(results.rglob("*.checkpoint"))
    scores = (labelled / "check1" / "scores.json").read_bytes()
    run(labelled, "project", "check", "--folds", "2", "--cores", "1")
    assert (labelled / "check1" / "scores.json").read_bytes() == scores
    assert not (labelled / "check2").exists()


@full
@pytest.mark.timeout(1200)
def test_a_comparison_trains_both_kinds_and_says_what_can_be_told(labelled):
    said = run(labelled, "project", "control", "--repeats", "2", "--cores", "1")
    assert "control1: 2 detectors learnt 5 of 10 chosen pictures, and as many 5 of 10 controls, beside the 0" in said
    assert "points of mAP, 95 % interval" in said
    chosen, controls = drawn_in(labelled)
    for repetition in range(4):
        folder = labelled / "results" / "control1" / f"seed{repetition}" / "initial" / "cycle0"
        learnt = set(read_json(folder / "labelled.json")["images"])
        assert len(learnt) == 5
        assert learnt < (controls if repetition % 2 else chosen)
    status = run(labelled, "project", "status")
    assert "round 2" not in status
    assert "next: mgral project next" in status
