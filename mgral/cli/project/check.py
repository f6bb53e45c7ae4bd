"""Command `project check`."""

from pathlib import Path

import click

from mgral.cli import options as shared_options
from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.exchange.read import FormatName


@click.command("check")
@options.folder
@click.option(
    "--folds", type=click.IntRange(2, 100), help="Number of parts, and of detectors to train.  [default: 5]"
)
@click.option("--last", is_flag=True, help="Show the latest check again, and train nothing.")
@click.option(
    "--output", type=shared_options.FOLDER, help="Write tasks for the pictures to check to this new folder."
)
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Number of pictures on the page and in the tasks.",
)
@options.task_formats
@options.cores
@options.profile
@options.cpu
@options.snakemake_options
def command(
    folder: Path,
    folds: int | None,
    last: bool,
    output: Path | None,
    most: int,
    formats: tuple[FormatName, ...],
    cores: str | None,
    profile: Path | None,
    snakemake_options: tuple[str, ...],
) -> None:
    """Search for label errors with detectors that were not trained on these labels, and score the detectors.

    This is cross-validation: each of several detectors is trained without one part of the labelled pictures, and runs
    on that part. Near-copies are in the same part. No label is changed. If it is interrupted, the same command
    continues. As long as no label changes, running it again trains nothing.
    """
    from mgral.labelling.experiments.check_files import check_lines, write_page, write_tasks
    from mgral.labelling.experiments.checks import run_check
    from mgral.labelling.running import BatchOptions, second_look_lines

    check, findings = run_check(
        folder, folds, last=last, cores=cores, profile=profile, snakemake_options=snakemake_options
    )
    show_repairs(findings, "pictures:", "")
    write_page(check, most)
    click.echo("\n".join(check_lines(check)))
    if output is not None:
        count = write_tasks(check, output, most, BatchOptions(formats))
        click.echo("\n".join(second_look_lines(folder, output, count)))
