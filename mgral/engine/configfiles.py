"""Checks the configuration on the command line of Snakemake, before it reads it."""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from mgral.config import read_values
from mgral.errors import InputError, program

SUFFIXES = (".yaml", ".yml", ".json")
FILES = ("--configfile", "--configfiles")
SETTINGS = ("--config", "-C")


def check_configfiles(files: Sequence[Path]) -> None:
    """Raise InputError where a target of the workflow is among configuration files; says the right order of words."""
    names = [path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path for path in files]
    targets = [str(name) for name in names if _is_target(name)]
    if targets:
        configfiles = [str(name) for name in names if str(name) not in targets]
        words = [*targets, "--cores", "all", *(["--configfile", *configfiles] if configfiles else [])]
        raise InputError(
            f"--configfile takes every word after it, and so {targets[0]} for a configuration; name targets first: "
            f"{program()} snakemake {' '.join(words)}"
        )


def explain_command(words: Sequence[str]) -> str | None:
    """Return why Snakemake cannot read the configuration on its command line; None where it can.

    It reads it before the Snakefile, which so cannot refuse it.
    """
    files = [Path(name) for name in _option_values(words, FILES)]
    try:
        check_configfiles(files)
        for path in files:
            read_values(path)
        for entry in _option_values(words, SETTINGS):
            _check_setting(entry)
    except InputError as error:
        return str(error)
    return None


def _option_values(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return what follows the last of some options of a command line, up to the next option."""
    values: list[str] = []
    for index, word in enumerate(words):
        option, equals, attached = word.partition("=")
        if option in options:
            following = takewhile(lambda next_word: not next_word.startswith("-"), words[index + 1 :])
            values = [*([attached] if equals else []), *following]
    return values


def _check_setting(entry: str) -> None:
    """Raise InputError where a word after `--config` is no `KEY=VALUE`."""
    key, equals, value = entry.partition("=")
    if not equals:
        raise InputError(f"--config: {entry!r} is no setting; write KEY=VALUE, such as --config budget=20")
    if "." in key:
        section, *keys = key.split(".")
        for name in reversed(keys):
            value = f"{{{name}: {value}}}"
        raise InputError(f'--config: {key!r} is no key; write --config "{section}={value}"')
    if not re.fullmatch(r"[a-zA-Z_][\w-]*\w", key):
        raise InputError(f"--config: {key!r} is no key; docs/reference/configuration.md lists the keys")


def _is_target(path: Path) -> bool:
    """Return whether a path is the name of a rule or of a result, not of a configuration."""
    return path.suffix not in SUFFIXES or (path.suffix == ".json" and path.parts[0] == "results")
