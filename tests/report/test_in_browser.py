"""The report in a real browser: what is on the first screen, no sideways scrolling, sorting and printing."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fabricated_results import fabricate
from slow import slow

from mgral.cli.steps.report import command

BROWSER = shutil.which("chromium")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser: apt install chromium")
SCREEN = 800
"""Pixels that a first screen is high."""
WIDTHS = (1200, 400)
MEASURE = """
const boxes = (selector) => Array.from(document.querySelectorAll(selector)).map((one) => one.getBoundingClientRect());
const bottom = (selector) => Math.max(...boxes(selector).map((box) => box.bottom));
const table = document.querySelector("#ranking table");
const column = () => Array.from(table.tBodies[0].rows).map((row) => row.cells[2].textContent.trim());
const head = table.tHead.rows[0].cells[2];
const sorted = [column()];
for (const _ of [1, 2]) {
  head.querySelector("button").focus();
  document.activeElement.click();
  sorted.push([head.getAttribute("aria-sort"), column()]);
}
window.dispatchEvent(new Event("beforeprint"));
const printed = Array.from(document.querySelectorAll("details")).map((part) => part.open);
window.dispatchEvent(new Event("afterprint"));
const found = {
  width: innerWidth,
  content: document.documentElement.scrollWidth,
  headline: bottom(".headline"), saved: bottom(".saved"), next: bottom(".next"), curve: bottom(".first .drawing"),
  sorted, printed, folded: Array.from(document.querySelectorAll("details")).map((part) => part.open),
};
parent.postMessage(JSON.stringify(found), "*");
"""
# A window is no narrower than 500 pixels; a frame in it is as wide as it is told.
FRAMES = "".join(
    f'<iframe src="measured.html" width="{width}" height="{SCREEN}" style="border: 0"></iframe>' for width in WIDTHS
)
PAGE = f"""<!DOCTYPE html>
{FRAMES}
<script>
addEventListener("message", (event) => {{
  const shown = document.createElement("pre");
  shown.textContent = event.data;
  document.body.append(shown);
}});
</script>
"""
Seen = Callable[[str], Mapping[int, Any]]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Return a function that opens the report of some strategies, and measures it at each width."""

    @cache
    def look(strategies: str) -> Mapping[int, Any]:
        folder = tmp_path_factory.mktemp("results")
        fabricate(folder, strategies=STRATEGIES[strategies], episodes=4)
        paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
        CliRunner().invoke(command, [str(path) for path in paths], catch_exceptions=False)
        page = (folder / "report.html").read_text()
        (folder / "measured.html").write_text(page.replace("</body>", f"<script>{MEASURE}</script></body>"))
        (folder / "frames.html").write_text(PAGE)
        return measured(folder / "frames.html", tmp_path_factory.mktemp("profile"))

    return look


STRATEGIES: dict[str, Any] = {
    "few": ("mgral", "random", "entropy_anchors"),
    "many": {"mgral": {}, "random": {}, **{f"a_rather_long_name_{n}": {"type": "margin"} for n in range(10)}},
}


def measured(page: Path, profile: Path) -> dict[int, Any]:
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=2000"]
    words += [f"--user-data-dir={profile}", "--window-size=1700,900", "--dump-dom", page.as_uri()]
    done = subprocess.run([str(BROWSER), *words], capture_output=True, text=True, check=True, timeout=120)
    shown = re.findall(r"<pre>(.*?)</pre>", done.stdout, flags=re.DOTALL)
    found = {one["width"]: one for one in map(json.loads, map(html.unescape, shown))}
    assert set(found) == set(WIDTHS), done.stderr
    return found


@pytest.mark.parametrize("strategies", ["few", pytest.param("many", marks=slow)])
def test_the_first_screen_has_the_answer_and_nothing_is_wider_than_it(seen: Seen, strategies: str) -> None:
    for width, found in seen(strategies).items():
        assert found["content"] <= width
        assert {name: found[name] for name in ("headline", "saved", "next", "curve") if found[name] > SCREEN} == {}


def test_a_table_is_sorted_up_and_down_and_folded_parts_are_printed(seen: Seen) -> None:
    found = seen("few")[WIDTHS[0]]
    before, (first, up), (second, down) = found["sorted"]
    assert (first, second) == ("ascending", "descending")
    assert up == sorted(before, key=lambda cell: float(cell.split(" ")[0]))
    assert down == up[::-1]
    assert set(found["printed"]) == {True}
    assert set(found["folded"]) == {False}
