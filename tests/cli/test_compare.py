"""Step `compare`."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from mgral.artefacts.files import write_arrays, write_csv, write_json
from mgral.cli.main import mgral
from mgral.errors import StepError


@pytest.fixture
def runs(tmp_path):
    first = tmp_path / "first"
    write_json(first / "seed0" / "metrics.json", {"map": 0.5})
    write_json(first / "config.yaml", {"seeds": [0]})
    for folder in ("logs", "timings", "provenance"):
        write_json(first / folder / "labelled.json", {"seconds": 1})
    second = tmp_path / "second"
    shutil.copytree(first, second)
    for folder in ("logs", "timings", "provenance"):
        write_json(second / folder / "labelled.json", {"seconds": 2})
    return first, second


def compared(runs, *options):
    return CliRunner().invoke(mgral, ["compare", *map(str, runs), *options])


def test_runs_that_differ_in_times_and_versions_alone_are_the_same(runs):
    result = compared(runs)
    assert result.exit_code == 0
    assert result.stdout == "2 artefacts compared, 2 identical\n"


def test_what_differs_is_named(runs):
    write_json(runs[1] / "seed0" / "metrics.json", {"map": 0.4})
    write_json(runs[1] / "report.html", "")
    result = compared(runs, "--json")
    assert json.loads(result.stdout) == {
        "identical": ["config.yaml"],
        "different": ["seed0/metrics.json"],
        "missing": ["report.html"],
    }
    assert isinstance(result.exception, StepError)
    assert "seed0/metrics.json differs\n  report.html is in one folder only" in str(result.exception)


RENAMED = """
files: {(.*)/old/(.*): \\1/new/\\2}
names: {.*agent.*: {reference: baseline, gone: null, added: null}}
changed: [page]
"""


def test_what_a_later_version_calls_otherwise_is_compared_by_content(runs, tmp_path):
    first, second = runs
    (tmp_path / "renamed.yaml").write_text(RENAMED)
    for folder, place, name, extra in ((first, "old", "reference", "gone"), (second, "new", "baseline", "added")):
        write_json(folder / "seed0" / place / "agent.json", {name: [name, 0.1], extra: 1})
        write_csv(folder / "seed0" / place / "agent.csv", [{name: 0.1}], [name])
        write_arrays(folder / "seed0" / place / "agent.safetensors", {name: np.ones(2), extra: np.ones(1)})
        write_json(folder / "page", folder.name)
    option = ("--renamed", str(tmp_path / "renamed.yaml"))
    assert compared(runs).exit_code != 0
    assert compared(runs, *option).stdout == "5 artefacts compared, 5 identical\n"
    write_arrays(second / "seed0" / "new" / "agent.safetensors", {"baseline": np.array([1, 1 + 1e-15])})
    result = compared(runs, *option)
    assert "seed0/new/agent.safetensors differs" in str(result.exception)
