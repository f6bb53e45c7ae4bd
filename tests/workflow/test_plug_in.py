"""A strategy of another package, in one file, goes through the whole experiment to the ranking of the report."""

import csv
import json

import numpy as np
import pytest
from installing import install_project
from run_workflow import TINY, snakemake
from slow import slow

from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images

STRATEGIES = "strategies={random: {}, bright: {type: brightness}}"


@slow
@pytest.mark.timeout(900)
def test_a_strategy_of_another_package_is_ranked(tmp_path):
    packages = tmp_path / "packages"
    install_project(packages)
    asked = ("--config", "cycles=1", "iterations={detector: 100}", STRATEGIES)
    done = snakemake(tmp_path, "--cores", "2", "--configfile", TINY, *asked, PYTHONPATH=str(packages))
    assert done.returncode == 0, done.stdout

    results = tmp_path / "results" / "tiny"
    with (results / "tables" / "ranking.csv").open() as file:
        ranked = [row["strategy"] for row in csv.DictReader(file) if row["score"] == "map"]
    assert sorted(ranked) == ["bright", "bright", "random", "random"]  # by images and by boxes
    assert "bright" in (results / "report.html").read_text()

    chosen = results / "seed0" / "strategies" / "bright" / "cycle0"
    record = json.loads((results / "provenance" / chosen.relative_to(results) / "selection.json.json").read_text())
    assert record["packages"]["mgral-brightness"] == "1.0"

    labelled = json.loads((results / "seed0" / "initial" / "cycle0" / "labelled.json").read_text())["images"]
    selection = json.loads((chosen / "selection.json").read_text())
    assert len(selection["images"]) == 4
    assert not set(selection["images"]) & set(labelled)

    train = load_dataset(results / "dataset" / "train.json")
    images = load_images(results / "dataset" / "train.npy", train, load_config(TINY).detector.image_canvas)
    brightness = images.read(train.rows(np.array(selection["images"]))).mean(axis=(1, 2, 3))
    assert selection["scores"] == pytest.approx(sorted(brightness, reverse=True))
