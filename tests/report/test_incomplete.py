"""The report of what there is, while some is missing."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from fabricated_results import fabricate

from mgral.cli.steps.report import command
from mgral.errors import StepError


def run(folder: Path, output: Path, *options: str | Path) -> Path:
    arguments = ["--config", folder / "config.yaml", "--results", folder, "--output", output, *options]
    CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    return output


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_partial_report_names_what_is_missing(tmp_path: Path) -> None:
    fabricate(tmp_path)
    (tmp_path / "seed1" / "strategies" / "entropy_anchors" / "cycle2" / "metrics.json").unlink()
    (tmp_path / "failed.log").write_text("warming up\nmgral: the disk is full\n")
    page = run(
        tmp_path, tmp_path / "partial" / "report.html", "--partial", "--log", tmp_path / "failed.log"
    ).read_text()
    assert "Finish the experiment: this is a partial report, without 1 strategy." in page
    assert page.index("Finish the experiment") < page.index('id="partial"') < page.index('id="ranking"')
    assert "Strategy entropy_anchors is left out" in page
    assert "cycle2/metrics.json" in page
    assert "failed.log</code>: mgral: the disk is full" in page
    assert {row["strategy"] for row in rows(tmp_path / "partial" / "tables" / "summary.csv")} == {"mgral", "random"}
    assert not (tmp_path / "report.html").exists()


def test_a_partial_report_leaves_out_a_seed_without_its_shared_rounds(tmp_path: Path) -> None:
    fabricate(tmp_path)
    (tmp_path / "seed1" / "full" / "cycle0" / "metrics.json").unlink()
    page = run(tmp_path, tmp_path / "partial" / "report.html", "--partial").read_text()
    assert "Seed 1 is left out" in page
    assert "Strategy" not in page.partition("This is a partial report")[2].partition("</ul>")[0]
    (tmp_path / "seed0" / "full" / "cycle0" / "metrics.json").unlink()
    with pytest.raises(StepError, match="no strategy is complete"):
        run(tmp_path, tmp_path / "partial" / "report.html", "--partial")
