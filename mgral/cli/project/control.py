"""Command `project control`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options


@click.command("control")
@options.folder
@click.option("--repeats", type=click.IntRange(2, 100), help="Detectors to train of each kind.  [default: 5]")
@options.cores
@options.profile
@options.cpu
@options.snakemake_words
def command(
    folder: Path, repeats: int | None, cores: str | None, profile: Path | None, words: tuple[str, ...]
) -> None:
    """Say whether the strategy is better than drawing at random, on your own pictures.

    It needs rounds whose batches had pictures drawn at random (`control` in project.yaml), and an audit or test set.
    Some detectors learn what the strategy chose, others as many pictures that were drawn at random, and all learn
    what was labelled before. If it is interrupted, the same command goes on.
    """
    from mgral.labelling.experiments.controls import run_control

    lines, findings = run_control(folder, repeats, cores=cores, profile=profile, words=words)
    show_repairs(findings, "pictures:", "")
    click.echo("\n".join(lines))
