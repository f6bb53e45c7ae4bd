"""Command `compare`: whether two runs of an experiment made the same."""

import json
from pathlib import Path

import click

from mgral.cli import options
from mgral.engine.comparison import compare, load_renamed
from mgral.errors import StepError


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("second", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option(
    "--renamed",
    type=options.FILE,
    help="YAML list of names that a later version, which made the second run, has changed: docs/renamed.yaml.",
)
@options.as_json
def command(first: Path, second: Path, renamed: Path | None, as_json: bool) -> None:
    """Compare all artefacts of two folders, such as results/synthetic of two clones; exit code 1 if any differs.

    Logs, timings and provenance are left out, because they differ from run to run.
    """
    comparison = compare(first, second, load_renamed(renamed) if renamed else None)
    compared = len(comparison.identical) + len(comparison.different)
    if as_json:
        click.echo(json.dumps(comparison._asdict(), indent=1))
    else:
        click.echo(f"{compared} artefacts compared, {len(comparison.identical)} identical")
    if comparison.different or comparison.missing:
        lines = [f"  {path} differs" for path in comparison.different]
        lines += [f"  {path} is in one folder only" for path in comparison.missing]
        raise StepError("\n".join([f"{first} and {second} are not the same:", *lines]))
