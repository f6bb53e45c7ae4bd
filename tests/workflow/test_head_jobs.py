"""Strategies that have a head: in the tiny experiment beside one that has none, and in a round of a project."""

import pytest
from run_workflow import TINY, snakemake
from slow import slow
from squares_project import SquaresProject

from mgral.artefacts.files import read_csv, read_json
from mgral.engine.verification import verify


@slow
@pytest.mark.timeout(900)
def test_the_tiny_experiment_with_a_head(tmp_path):
    asked = ("--configfile", TINY, "--config", "cycles=1")
    done = snakemake(tmp_path, "--cores", "2", *asked, "strategies={random: {}}")
    assert done.returncode == 0, done.stdout
    results = tmp_path / "results" / "tiny"
    detectors = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in results.rglob("detector.safetensors")}
    done = snakemake(tmp_path, "--cores", "2", *asked, "strategies={random: {}, own: {type: llal}}")
    assert done.returncode == 0, done.stdout
    assert "warning" not in done.stdout
    for path, before in detectors.items():
        assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    place = results / "seed0" / "initial" / "cycle0"
    rows, of_detector = read_csv(place / "heads" / "llal.csv"), read_csv(place / "training.csv")
    assert [row["iteration"] for row in rows] == [row["iteration"] for row in of_detector]
    selection = read_json(results / "seed0" / "strategies" / "own" / "cycle0" / "selection.json")
    labelled = len(read_json(place / "labelled.json")["images"])
    pool = len(read_json(results / "dataset" / "train.json")["images"]) - labelled
    assert selection["forward_passes"] == pool
    assert "for its head" in (results / "report.html").read_text()
    assert verify(results)[1] == []


@slow
@pytest.mark.timeout(600)
def test_a_round_of_a_project_with_a_head(tmp_path):
    project = SquaresProject.make(tmp_path)
    chunk = project.add(16)
    labelled = [project.labelled(number) for number in range(1, 7)]
    config = project.open(1, [chunk], labelled, strategies=["meh_hua"])
    done = snakemake(project.folder, "--cores", "1", "--configfile", config)
    assert done.returncode == 0, done.stdout
    results = project.folder / "results" / "round1"
    assert len(read_csv(results / "seed1" / "initial" / "cycle0" / "heads" / "meh_hua.csv")) > 0
    selection = read_json(results / "seed1" / "strategies" / "meh_hua" / "cycle0" / "selection.json")
    assert 0 < selection["forward_passes"] <= 10
    assert not set(selection["images"]) & set(range(1, 7))
