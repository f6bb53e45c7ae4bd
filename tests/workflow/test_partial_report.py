"""A strategy that fails costs the others nothing, and a finished report outlives what is done to renew it."""

import sys
from pathlib import Path

import pytest
from run_workflow import TINY, planned, snakemake
from slow import full

FAILING = f"""#!/usr/bin/env bash
if [[ "$*" == ${{FAILS:-nothing}} ]]; then echo "mgral: made to fail" >&2; exit 1; fi
exec {Path(sys.executable).parent / "mgral"} "$@"
"""
"""A `mgral` that fails where its arguments are like the pattern in FAILS."""
THREE = 'strategies=["random", "margin", "entropy_sum"]'
FOUR = 'strategies=["random", "margin", "entropy_sum", "core_set"]'


@pytest.fixture
def failing(tmp_path):
    """The folder of the `mgral` that fails where it is asked to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mgral").write_text(FAILING)
    (folder / "mgral").chmod(0o755)
    return folder


def run(folder, *arguments, **how):
    return snakemake(folder, "--cores", "2", "--keep-going", "--configfile", TINY, *arguments, **how)


@full
@pytest.mark.timeout(900)
def test_a_strategy_that_fails_costs_the_others_nothing(tmp_path, failing):
    results = tmp_path / "results" / "tiny"
    partial = results / "partial" / "report.html"
    done = run(tmp_path, "--config", "cycles=1", THREE, stub=failing, FAILS="select*entropy_sum*")
    assert done.returncode != 0
    assert str(partial.relative_to(tmp_path)) in done.stdout
    page = partial.read_text()
    assert "This is a partial report" in page
    assert "Strategy entropy_sum is left out" in page
    assert "logs/select/seed0/entropy_sum/cycle0.log</code>: mgral: made to fail" in page
    assert "margin" in (partial.parent / "tables" / "summary.csv").read_text()
    assert "entropy_sum" not in (partial.parent / "tables" / "summary.csv").read_text()
    assert not (results / "report.html").exists()

    assert run(tmp_path, "--config", "cycles=1", THREE, stub=failing).returncode == 0
    whole = (results / "report.html").read_bytes()
    assert b"This is a partial report" not in whole
    assert b"entropy_sum" in whole
    assert not partial.exists()

    done = run(tmp_path, "--config", "cycles=1", FOUR, stub=failing, FAILS="select*core_set*")
    assert done.returncode != 0
    assert (results / "report.html").read_bytes() == whole
    assert "Strategy core_set is left out" in partial.read_text()
    assert "report" in {rule for rule, _ in planned(tmp_path, "--configfile", TINY, "--config", "cycles=1", FOUR)}

    # All scores are of other settings now, and their renewal fails: they are no part of a report of these.
    other = ("--config", "cycles=1", "evaluation={nms_iou: 0.4}", THREE)
    done = run(tmp_path, *other, stub=failing, FAILS="evaluate*margin*")
    assert done.returncode != 0
    assert (results / "report.html").read_bytes() == whole
    assert "Strategy margin is left out" in partial.read_text()
    assert "entropy_sum" in (partial.parent / "tables" / "summary.csv").read_text()


@full
def test_a_finished_report_outlives_a_failed_renewal(tmp_path):
    results = tmp_path / "results" / "tiny"
    assert run(tmp_path, stub=True).returncode == 0
    (results / "figures" / "curve.svg").write_text("a figure")
    (results / "tables" / "curve.csv").write_text("a table")
    before = (results / "report.html").read_bytes()
    # Of the report alone, as no job reads it, and no file is newer than the report for it.
    changed = ("--config", "fidelity={batches: 5}")
    done = run(tmp_path, *changed, stub=True, STUB_FAILS="report")
    assert done.returncode != 0
    assert (results / "report.html").read_bytes() == before
    assert (results / "figures" / "curve.svg").read_text() == "a figure"
    assert (results / "tables" / "curve.csv").read_text() == "a table"
    assert not (results / ".report").exists()
    assert [rule for rule, _ in planned(tmp_path, "--configfile", TINY, *changed, stub=True)] == ["report"]
    assert run(tmp_path, *changed, stub=True).returncode == 0
    assert planned(tmp_path, "--configfile", TINY, *changed, stub=True) == []


def test_a_report_is_brought_back_after_a_kill(tmp_path):
    """What an interrupted run put aside is not lost by the next one."""
    from mgral.report.kept import bring_back_report, keep_report

    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "curve.svg").write_text("a figure")
    (tmp_path / "report.html").write_text("a page")
    keep_report(tmp_path)
    (tmp_path / "report.html").unlink()
    (tmp_path / "figures" / "curve.svg").unlink()
    keep_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "a page"
    assert (tmp_path / "figures" / "curve.svg").read_text() == "a figure"
    (tmp_path / "report.html").write_text("a new page")
    bring_back_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "a new page"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures", "report.html"]
