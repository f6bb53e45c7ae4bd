"""Finds words that Snakemake takes for configuration files, as it takes all words after `--configfile`."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from mgral.config import read_values
from mgral.errors import InputError, program

SUFFIXES = (".yaml", ".yml", ".json")
OPTIONS = ("--configfile", "--configfiles")


def check_configfiles(files: Sequence[Path]) -> None:
    """Raise InputError where a target of the workflow is among configuration files; says the right order of words."""
    names = [path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in files]
    taken = [str(name) for name in names if _is_target(name)]
    if taken:
        right = [str(name) for name in names if str(name) not in taken]
        words = [*taken, "--cores", "all", *(["--configfile", *right] if right else [])]
        raise InputError(
            f"--configfile takes every word after it, and so {taken[0]} for a configuration; name targets first: "
            f"{program()} snakemake {' '.join(words)}"
        )


def explain_command(words: Sequence[str]) -> str | None:
    """Return why Snakemake cannot read the configurations of its command line; None where it can.

    It reads them before the Snakefile, which so cannot refuse them.
    """
    files: list[Path] = []
    for place, word in enumerate(words):
        option, equals, first = word.partition("=")
        if option in OPTIONS:
            behind = takewhile(lambda other: not other.startswith("-"), words[place + 1 :])
            files = [Path(name) for name in [*([first] if equals else []), *behind]]
    try:
        check_configfiles(files)
        for path in files:
            read_values(path)
    except InputError as error:
        return str(error)
    return None


def _is_target(path: Path) -> bool:
    """Return whether a path is the name of a rule or of a result, not of a configuration."""
    return path.suffix not in SUFFIXES or (path.suffix == ".json" and path.parts[0] == "results")
