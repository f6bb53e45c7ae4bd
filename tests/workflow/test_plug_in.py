"""A strategy of another package, in one file, goes through the whole experiment to the ranking of the report."""

import csv
import json

import pytest
from installing import install_project
from run_workflow import TINY, snakemake


@pytest.mark.timeout(900)
def test_a_strategy_of_another_package_is_ranked(tmp_path):
    packages = tmp_path / "packages"
    install_project(packages)
    asked = ("--config", "cycles=1", "strategies={random: {}, bright: {type: brightness}}")
    done = snakemake(tmp_path, "--cores", "2", "--configfile", TINY, *asked, PYTHONPATH=str(packages))
    assert done.returncode == 0, done.stdout

    results = tmp_path / "results" / "tiny"
    with (results / "tables" / "ranking.csv").open() as file:
        ranked = [row["strategy"] for row in csv.DictReader(file) if row["score"] == "map"]
    assert sorted(ranked) == ["bright", "random"]
    assert "bright" in (results / "report.html").read_text()

    chosen = results / "seed0" / "strategies" / "bright" / "cycle0"
    record = json.loads((results / "provenance" / chosen.relative_to(results) / "selection.json.json").read_text())
    assert record["packages"]["mgral-brightness"] == "1.0"

    labelled = json.loads((results / "seed0" / "initial" / "cycle0" / "labelled.json").read_text())["images"]
    selection = json.loads((chosen / "selection.json").read_text())["images"]
    assert len(selection) == 4
    assert not set(selection) & set(labelled)
