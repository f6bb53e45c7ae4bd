"""The pages of the documentation, and the blocks of code in them."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from run_workflow import ROOT

DOCS = ROOT / "docs"
NOT_CHECKED = "<!-- not checked: "
"""Begins the line before a block that cannot be run or read here, and says why."""
_FENCE = re.compile(r"^(?P<before>[^\n]*)\n```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block of a page."""

    place: str
    """Page and line, for messages."""
    language: str
    text: str
    checked: bool
    """Whether it can be run or read as it stands."""


def tracked_pages() -> list[Path]:
    """Return every Markdown file of the repository."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines()]


def blocks(page: Path, *languages: str) -> list[Block]:
    """Return the fenced blocks of a page in these languages, in their order."""
    text = "\n" + page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] in languages:
            place = f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start('text'))}"
            checked = not match["before"].startswith(NOT_CHECKED)
            found.append(Block(place, match["language"], match["text"], checked))
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks, and without code in its lines."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"(`+).+?\1", "", text, flags=re.DOTALL)
