"""Links between the Markdown files of the repository lead somewhere, and every page of the site can be found."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import DOCS, prose, tracked_pages
from run_workflow import ROOT

LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\))?)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Yield each link of a page to a file, as it is written, and the file and the anchor that it leads to."""
    for link in LINK.findall(prose(page)):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            yield link, (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> list[str]:
    """Return the anchors of a page's headings, as GitHub and the site's generator have them."""
    headings = HEADING.findall(FENCED.sub("", page.read_text()))
    return [re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings]


def navigation(entries: object) -> Iterator[str]:
    if isinstance(entries, str):
        yield entries
        return
    for entry in entries.values() if isinstance(entries, dict) else entries:
        yield from navigation(entry)


@pytest.mark.parametrize("page", tracked_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for link, path, anchor in links(page):
        assert path.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors(path), f"{link}: it has no such heading"


def test_pages_of_the_site_link_to_nothing_outside_of_it():
    for page in tracked_pages():
        if DOCS in page.parents:
            outside = [link for link, path, _ in links(page) if DOCS not in (path, *path.parents)]
            assert not outside, f"{page}: name these files without a link"


def test_every_page_of_the_site_can_be_reached():
    """From the navigation, over links."""
    listed = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    reached, new = set(), {DOCS / name for name in navigation(listed)}
    assert all(page.exists() for page in new)
    while new:
        reached |= new
        new = {path for page in new for _, path, _ in links(page) if path.suffix == ".md"} - reached
    assert {page for page in tracked_pages() if DOCS in page.parents} <= reached


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Two words: `code`\n\n[a](#two-words-code) [b](other.md#x) [c](https://x.y/z)\n\n```\n[d](e)\n```\n"
    )
    assert [link for link, _, _ in links(page)] == ["#two-words-code", "other.md#x"]
    assert anchors(page) == ["two-words-code"]


def test_files_that_pages_include_are_there():
    """On lines that only the site's generator reads: a formatter of their code would change them."""
    lines = [line for page in tracked_pages() for line in page.read_text().splitlines() if line.startswith("--8")]
    included = [re.fullmatch(r'--8<-- "(.+)"', line) for line in lines]
    assert lines
    assert all(one is not None and (ROOT / one[1]).exists() for one in included)
