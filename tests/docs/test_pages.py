"""Pages are short, their code can be read, and the commands in them have the options that they show."""

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import yaml
from pages import DOCS, Block, blocks, tracked_pages
from run_workflow import ROOT
from snakemake.cli import get_argument_parser

from mgral.cli.main import mgral
from mgral.config import resolve_config

MOST_WORDS = 1000
LONG = ("results",)
"""Folders of pages that may be longer: those made from experiments."""
PAGES = [page for page in tracked_pages() if "tests" not in page.parts]
SHELL = ("sh", "bash")
INLINE = re.compile(r"`((?:\.venv/bin/)?(?:mgral|snakemake)\s[^`]+)`")
PLACEHOLDER = re.compile(r"\.\.\.|[A-Z]{3,}")


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page, *languages)]


def test_pages_are_short():
    words = {
        page: len(page.read_text().split()) for page in PAGES if DOCS in page.parents or page.stem == "ARCHITECTURE"
    }
    long = {str(page.relative_to(ROOT)): count for page, count in words.items() if count > MOST_WORDS}
    assert not {page for page in long if Path(page).parts[1:2] not in [(folder,) for folder in LONG]}


@pytest.mark.parametrize("block", all_blocks(*SHELL), ids=lambda block: block.place)
def test_shell_can_be_read(block):
    assert subprocess.run(["bash", "-n"], input=block.text, text=True, check=False).returncode == 0


@pytest.mark.parametrize("block", all_blocks("python"), ids=lambda block: block.place)
def test_python_can_be_read(block):
    compile(block.text, block.place, "exec")


@pytest.mark.parametrize("block", all_blocks("yaml"), ids=lambda block: block.place)
def test_configurations_are_valid(block):
    values = yaml.safe_load(block.text)
    if block.checked:
        resolve_config({"data": {"format": "coco", "root": "mine"}} | values)


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of mgral and of Snakemake in the pages, and where it is."""
    found = []
    for page in PAGES:
        texts = [(block.place, block.text) for block in blocks(page, *SHELL)]
        indented = re.findall(r"(?:^ {4}.*\n)+", page.read_text(), re.MULTILINE)
        inline = [" ".join(text.split()) for text in INLINE.findall(page.read_text())]
        texts += [(str(page.relative_to(ROOT)), text) for text in (*indented, *inline)]
        for place, text in texts:
            for line in text.replace("\\\n", " ").splitlines():
                found += [(place, words) for words in commands_of(line)]
    return found


def commands_of(line: str) -> list[list[str]]:
    """Return the words of each command of mgral or Snakemake in a line."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # no command
        return []
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if not words or Path(words[0]).name not in ("mgral", "snakemake") or words[0] not in NAMES:
        return []
    words[0] = Path(words[0]).name
    ends = [place for place, word in enumerate(words) if word in (">", "&&", ";", "|")]
    words = words[: ends[0]] if ends else words
    if words[:2] == ["mgral", "snakemake"]:  # the only one of its own options
        return [[word for word in words[1:] if word != "--cpu"]]
    return [words]


NAMES = ("mgral", "snakemake", ".venv/bin/mgral", ".venv/bin/snakemake", "../.venv/bin/mgral")


def faults(words: list[str]) -> list[str]:
    """Return the subcommands and options of a command that there are not."""
    if words[0] == "snakemake":
        known = {option for action in get_argument_parser()._actions for option in action.option_strings}
        return unknown_options(words[1:], known)
    command: click.Command = mgral
    context, rest = click.Context(command), words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        if PLACEHOLDER.fullmatch(rest[0]):
            return []
        inner = command.get_command(context, rest[0])
        if inner is None:
            return [rest[0]]
        command, rest = inner, rest[1:]
        context = click.Context(command, context)
    known = {option for one in command.get_params(context) for option in (*one.opts, *one.secondary_opts)}
    return unknown_options(rest, known)


def unknown_options(words: list[str], known: set[str]) -> list[str]:
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return [word for word in given if word not in known]


def test_commands_have_the_options_that_pages_show():
    found = commands()
    assert len(found) > 100
    wrong = [f"{place}: {' '.join(words)}: {bad}" for place, words in found if (bad := faults(words))]
    assert not wrong


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("mgral projekt init x", ["projekt"]),
        ("mgral project init --clases a x", ["--clases"]),
        ("  OMP_NUM_THREADS=4 .venv/bin/mgral predict --results x > y --not-mine", []),
        (".venv/bin/snakemake --cores all --configfil x", ["--configfil"]),
        ('mgral snakemake -n --config "agent={a: -1}"', []),
    ],
)
def test_a_wrong_command_is_found(line, wrong):
    (words,) = commands_of(line)
    assert faults(words) == wrong
