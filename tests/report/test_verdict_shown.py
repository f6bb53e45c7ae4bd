"""The first screen and the console of a made-up experiment: what both say of the same numbers."""

import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from fabricated_results import fabricate

from mgral.cli.steps.report import command
from mgral.engine.console.outcome import result_lines


def reported(folder: Path, **settings: Any) -> tuple[str, list[str]]:
    """Return the first screen of the report in plain text, and the lines of the console below the report's."""
    fabricate(folder, episodes=4, **settings)
    paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(command, [str(path) for path in paths], catch_exceptions=False)
    page = (folder / "report.html").read_text()
    first = page[page.index('id="verdict"') : page.index('id="ranking"')]
    return " ".join(re.sub("<[^>]*>", " ", first).split()), result_lines(folder, {"report"}, [])[1:]


def test_a_detector_that_learnt_nothing_is_no_result(tmp_path: Path) -> None:
    page, console = reported(tmp_path, strategies=("margin", "random"), full=0.0)
    (line,) = console
    assert line.startswith("The detector has learnt almost nothing: its mAP with all labels is ")
    assert line in page
    assert "Commands are for the folder that" in page
    assert "FILE" not in page
    assert "more seeds" not in page


def test_report_and_console_show_the_same_interval_and_clearly_is_explained_where_it_is_used(tmp_path: Path) -> None:
    page, console = reported(tmp_path / "three", strategies=("margin", "random"), seeds=(0, 1, 2))
    (shown,) = re.findall(r"95 % interval (\S+ to [^,)]+), 3 seeds", page)
    assert f"({shown})".replace("−", "-") in console[1]
    assert ("“Clearly” means" in page) == ("clearly" in page.split("“Clearly”")[0])
    page, _ = reported(tmp_path / "two", strategies=("margin", "random"))
    assert "Too few seeds for a verdict" in page
    assert "learly" not in page
