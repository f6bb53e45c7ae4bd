"""Command `project train`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options


@click.command("train")
@options.folder
@options.cores
@options.profile
@options.cpu
@options.snakemake_options
def command(folder: Path, cores: str | None, profile: Path | None, snakemake_options: tuple[str, ...]) -> None:
    """Train a detector on all labels, without choosing pictures: the last step, once the budget is used.

    It counts as a round and uses no budget. If it is interrupted, the same command continues.
    """
    from mgral.labelling.running import run_training

    lines, findings = run_training(folder, cores=cores, profile=profile, snakemake_options=snakemake_options)
    show_repairs(findings, "pictures:", "")
    click.echo("\n".join(lines))
