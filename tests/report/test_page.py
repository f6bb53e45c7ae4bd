"""How the pages are made: what comes first, texts for those who do not see figures, contrast, and sortable tables."""

import re
import xml.etree.ElementTree as ElementTree
from importlib import resources

import pytest
from click.testing import CliRunner
from fabricated_results import fabricate

from mgral.cli.steps.report import command
from mgral.report.choices import _COLOURS, _ink_on

HTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> ElementTree.Element:
    folder = tmp_path_factory.mktemp("results")
    fabricate(folder)
    paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(command, [str(path) for path in paths], catch_exceptions=False)
    return ElementTree.fromstring((folder / "report.html").read_text())


def text(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_the_answer_comes_first_then_results_then_settings(page: ElementTree.Element) -> None:
    ids = [element.get("id") for element in page.iter() if element.tag.startswith(HTML) and element.get("id")]
    parts = [name for name in ids if name in PARTS]
    assert parts == PARTS
    before = [element for element in page.iter(f"{HTML}p") if element.get("class") == "headline"]
    assert text(before[0]).startswith("Too few seeds for a verdict: mgral is 0.7 points of mAP below random")
    (curve,) = [one for one in page.iter(f"{HTML}figure") if one.get("id") == "in_short"]
    assert len(list(curve.iter(f"{SVG}svg"))) == 1
    folded = [text(one.find(f"{HTML}summary")) for one in page.iter(f"{HTML}details")]  # type: ignore[arg-type]
    assert folded == ["How the ranking is made", "Settings of the experiment"]
    assert all(one.get("open") is None for one in page.iter(f"{HTML}details"))


PARTS = ["verdict", "in_short", "ranking", "saved", "curves", "choices", "agent", "lut", "scores", "cost", "details"]


def test_every_figure_says_what_it_shows_in_its_caption_and_for_those_who_do_not_see_it(
    page: ElementTree.Element,
) -> None:
    figures = [one for one in page.iter(f"{HTML}figure") if one.get("id")]
    assert len(figures) == 1 + 4 + 4 + 2 + 3 + 2 + 3 + 3 + 1
    for figure in figures:
        caption = figure.find(f"{HTML}figcaption/{HTML}b")
        (drawing,) = figure.iter(f"{HTML}div")
        assert caption is not None
        assert text(caption).endswith(".")
        assert drawing.get("role") == "img"
        assert str(drawing.get("aria-label")).endswith(text(caption))
    captions = {figure.get("id"): text(figure.find(f"{HTML}figcaption/{HTML}b")) for figure in figures}  # type: ignore[arg-type]
    assert captions["map_by_images"] == (
        "In the mean of 2 seeds, mgral is below random from 10 images on. entropy_anchors ends highest, at 33.4 %."
    )


def test_every_picture_has_a_text(page: ElementTree.Element) -> None:
    assert all(image.get("alt") for image in page.iter(f"{HTML}img"))
    picks = [one for one in page.iter(f"{SVG}svg") if one.get("role") == "img"]
    assert picks
    assert all(re.fullmatch(r"\d{4}\.jpg: (no boxes|.+ ×\d+)", str(one.get("aria-label"))) for one in picks)


def test_tables_can_be_sorted_by_one_head_for_each_column(page: ElementTree.Element) -> None:
    tables = list(page.iter(f"{HTML}table"))
    assert len(tables) >= 8
    for table in tables:
        heads = table.findall(f"{HTML}thead/{HTML}tr")
        assert len(heads) == 1
        assert {len(row) for row in table.findall(f"{HTML}tbody/{HTML}tr")} == {len(heads[0])}
    boxes = [one for one in page.iter(f"{HTML}div") if one.get("class") == "scroll"]
    assert len(boxes) == len(tables)
    assert all(one.get("tabindex") == "0" and one.get("aria-label") for one in boxes)
    script = "".join(one.text or "" for one in page.iter(f"{HTML}script"))
    for words in ('head.setAttribute("aria-sort"', 'createElement("button")', '"beforeprint"'):
        assert words in script


def luminance(colour: str) -> float:
    full = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(full[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_can_be_read_on_every_background() -> None:
    style = resources.files("mgral.report").joinpath("style.css").read_text(encoding="utf-8")
    names = dict(re.findall(r"--(\w+): (#\w+);", style))
    style = re.sub(r"var\(--(\w+)\)", lambda found: names[found[1]], style)
    inks = set(re.findall(r"[{;] color: (#\w+)", style))
    papers = set(re.findall(r"background: (#\w+)", style))
    assert {names["ink"], names["soft"]} < inks
    assert {"#fff", names["wash"]} < papers
    found = {(ink, paper): contrast(ink, paper) for ink in inks for paper in papers}
    assert {pair: round(value, 2) for pair, value in found.items() if value < 4.5} == {}
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_numbers_on_colours_can_be_read() -> None:
    for place in range(_COLOURS.N):
        cell = _COLOURS(place)
        paper = "#" + "".join(f"{round(255 * channel):02x}" for channel in cell[:3])
        assert contrast({"black": "#000000", "white": "#ffffff"}[_ink_on(cell)], paper) > 4.5
