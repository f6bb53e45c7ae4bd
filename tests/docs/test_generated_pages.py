"""The pages of docs/reference are those that the code makes, and they tell all that there is."""

import importlib
import re

import pytest

from docs import generate
from mgral.config import registry

PAGES = generate.pages()
OURS = [one for one in registry.strategies().values() if one.module.startswith("mgral.")]


def test_no_other_page_lies_among_them():
    written = {page.relative_to(generate.OUTPUT).as_posix() for page in generate.OUTPUT.rglob("*.md")}
    assert written == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_committed_pages_are_up_to_date(name):
    assert (generate.OUTPUT / name).read_text() == PAGES[name].rstrip() + "\n", "run `make docs` and commit its pages"


def test_pages_show_the_examples_as_they_are():
    shown = [page for page in generate.DOCS.glob("*.md") if generate.EXAMPLE.search(page.read_text())]
    assert {page.name for page in shown} >= {"api.md", "extending.md"}
    for page in shown:
        assert page.read_text() == generate.with_examples(page.read_text()), "run `make docs` and commit its pages"


@pytest.mark.parametrize("module", sorted({one.module for one in OURS}))
def test_every_strategy_says_where_it_is_from_and_how_it_chooses(module):
    headings = [title for title, _ in re.findall(r"^(\w+)\n(-+)$", importlib.import_module(module).__doc__, re.M)]
    assert headings in (["Source", "Formula"], ["Source", "Formula", "Differences"])


def test_every_strategy_is_told_with_what_it_costs():
    rows = dict(re.findall(r"^\| \[`(\w+)`\]\([^)]*\) \|(.*)\|$", PAGES["strategies.md"], re.M))
    assert list(rows) == [one.name for one in OURS]
    assert rows["random"].endswith("| all | nothing ")
    assert rows["cald"].endswith("| all except commands | inference on the pool, 5 times ")
    assert rows["llal"].endswith("| one more training of the detector, with the head; inference on the pool ")
    assert "all, commands with `probabilities`" in rows["entropy_sum"]
    assert rows["mgral_greedy"].endswith(
        "| all | embeddings of all training images; lookup tables; groups of near-copies, found once "
    )
    assert "with anchors; commands whose proxy has anchors" in rows["paper"]


def test_types_and_defaults_are_in_words():
    page = "\n".join(text for name, text in PAGES.items() if name.startswith("configuration"))
    assert "| `learning_rate` | number above 0 | `0.02` | Learning rate of the agent's Adam optimiser; " in page
    assert "| `variants` | integer from 2 | `12` |" in page
    assert "| `distance` | `by_class` or `sliced` or `exact` | `by_class` |" in page
    assert "| `concentration` | list of numbers above 0 | `[0.1, 10]` |" in page
    assert "| `root` | text | required |" in page
    assert "## training.augmentation" in page
    of_detectors = "\n".join(text for name, text in PAGES.items() if name.startswith("detectors"))
    undescribed = re.findall(r"^\| `(\w+)` \|.*\|  \|$", page + of_detectors, re.M)
    assert not undescribed


def test_every_command_is_told():
    for name in ("mgral select", "mgral project next", "mgral project classes merge", "mgral estimate"):
        file = f"commands/{name.replace(' ', '-')}.md"
        assert f"```text\nUsage: {name} " in PAGES[file]
        assert f"[`{name}`]({file})" in PAGES["commands.md"]
