"""Step `compare`: whether two runs of an experiment made the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from mgral.artefacts.integrity import RECORDS, file_hash
from mgral.cli import options
from mgral.errors import StepError

DIFFERING = ("logs", "benchmarks", "timings", RECORDS)
"""Folders of an experiment that hold what differs from run to run: times, versions, commits."""


class Comparison(NamedTuple):
    """Paths relative to the folders, in order."""

    identical: list[str]
    different: list[str]
    missing: list[str]
    """In one of the two alone."""


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("second", type=click.Path(path_type=Path, file_okay=False, exists=True))
@options.as_json
def command(first: Path, second: Path, as_json: bool) -> None:
    """Compare all artefacts of two folders, such as results/synthetic of two clones; exit 1 where one differs.

    Logs, benchmarks, timings and provenance are left out: they tell of the run, not of the result.
    """
    found = compare(first, second)
    compared = len(found.identical) + len(found.different)
    if as_json:
        click.echo(json.dumps(found._asdict(), indent=1))
    else:
        click.echo(f"{compared} artefacts compared, {len(found.identical)} identical")
    if found.different or found.missing:
        lines = [f"  {path} differs" for path in found.different]
        lines += [f"  {path} is in one folder only" for path in found.missing]
        raise StepError("\n".join([f"{first} and {second} are not the same:", *lines]))


def compare(first: Path, second: Path) -> Comparison:
    """Compare the artefacts of two folders."""
    ours, others = set(_artefacts(first)), set(_artefacts(second))
    both = sorted(ours & others)
    same = {path for path in both if file_hash(first / path) == file_hash(second / path)}
    return Comparison(
        [path for path in both if path in same],
        [path for path in both if path not in same],
        sorted(ours ^ others),
    )


def _artefacts(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] not in DIFFERING and not path.name.startswith("."):
            yield relative.as_posix()
