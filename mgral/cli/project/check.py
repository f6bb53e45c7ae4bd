"""Command `project check`."""

from pathlib import Path

import click

from mgral.cli import options as shared_options
from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.labelling.exchange.read import FormatName


@click.command("check")
@options.folder
@click.option("--folds", type=click.IntRange(2, 100), help="Parts, and detectors to train.  [default: 5]")
@click.option("--last", is_flag=True, help="Show the latest check again, and train nothing.")
@click.option("--output", type=shared_options.FOLDER, help="Write tasks for another look into this new folder.")
@click.option(
    "--most", type=click.IntRange(min=1), default=50, show_default=True, help="Pictures of the page and the tasks."
)
@options.task_formats
@options.cores
@options.profile
@options.cpu
@options.snakemake_words
def command(
    folder: Path,
    folds: int | None,
    last: bool,
    output: Path | None,
    most: int,
    formats: tuple[FormatName, ...],
    cores: str | None,
    profile: Path | None,
    words: tuple[str, ...],
) -> None:
    """Look for errors in the labels, by detectors that have not learnt them, and measure these detectors.

    Each of several detectors is trained without one part of the labelled pictures, and looks at that part: this is
    cross-validation. Near-copies are in one part. It changes no label. If it is interrupted, the same command goes
    on. While labels stay as they are, it trains nothing anew.
    """
    from mgral.labelling.experiments.check_files import check_lines, write_page, write_tasks_of
    from mgral.labelling.experiments.checks import run_check
    from mgral.labelling.running import BatchOptions, second_look_lines

    check, findings = run_check(folder, folds, last=last, cores=cores, profile=profile, words=words)
    show_repairs(findings, "pictures:", "")
    write_page(check, most)
    click.echo("\n".join(check_lines(check)))
    if output is not None:
        count = write_tasks_of(check, output, most, BatchOptions(formats))
        click.echo("\n".join(second_look_lines(folder, output, count)))
