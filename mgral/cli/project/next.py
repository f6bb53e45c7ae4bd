"""Command `project next`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.exchange.read import FormatName


@click.command("next")
@options.folder
@options.task_formats
@click.option(
    "--people",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Number of people to split the batch between.",
)
@click.option(
    "--shared",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Fraction of the pictures that two people label, to compare their labels.",
)
@click.option(
    "--prefix",
    help="Text before the name of a picture in tasks for Label Studio, such as https://HOST/.  [default: for local "
    "files, with the project's folder as document root]",
)
@options.cores
@options.profile
@options.cpu
@click.option("--anyway", is_flag=True, help="Start a round even if no label of the last one was imported.")
@options.snakemake_options
def command(
    folder: Path,
    formats: tuple[FormatName, ...],
    people: int,
    shared: float,
    prefix: str | None,
    cores: str | None,
    profile: Path | None,
    anyway: bool,
    snakemake_options: tuple[str, ...],
) -> None:
    """Choose the next pictures to label: train on all labels, select, and write the batch to roundN/.

    If it is interrupted, the same command continues. Words after `--` are passed to Snakemake, such as
    `-- --use-singularity --config "container={image: mgral.sif}"`.
    """
    from mgral.labelling.running import BatchOptions, run_round

    batch = BatchOptions(formats, people, shared, prefix)
    lines, findings = run_round(
        folder, batch, cores=cores, profile=profile, anyway=anyway, snakemake_options=snakemake_options
    )
    show_repairs(findings, "pictures:", "")
    click.echo("\n".join(lines))
