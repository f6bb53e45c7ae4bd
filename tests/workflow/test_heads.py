"""The tiny experiment with a strategy that has a head, beside one that has none."""

import pytest
from run_workflow import TINY, snakemake
from slow import slow

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
