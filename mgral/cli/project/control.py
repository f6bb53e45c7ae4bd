"""Command `project control`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options


@click.command("control")
@options.folder
@click.option(
    "--repeats", type=click.IntRange(2, 100), help="Number of detectors to train of each kind.  [default: 5]"
)
@options.cores
@options.profile
@options.cpu
@options.snakemake_options
def command(
    folder: Path, repeats: int | None, cores: str | None, profile: Path | None, snakemake_options: tuple[str, ...]
) -> None:
    """Test whether the strategy is better than random sampling on your own pictures.

    It needs rounds whose batches contain pictures drawn at random (`control` in project.yaml), and an audit or test
    set. Some detectors learn pictures that the strategy chose, others the same number of pictures drawn at random;
    all learn the earlier labels. If it is interrupted, the same command continues.
    """
    from mgral.labelling.experiments.controls import run_control

    lines, findings = run_control(folder, repeats, cores=cores, profile=profile, snakemake_options=snakemake_options)
    show_repairs(findings, "pictures:", "")
    click.echo("\n".join(lines))
