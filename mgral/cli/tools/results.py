"""Command `results`: pages of finished experiments."""

from pathlib import Path

import click

from mgral.cli import options
from mgral.report.results_page import write_results


@click.command("results")
@click.argument("folders", type=options.FOLDER, nargs=-1, required=True, metavar="RESULTS/EXPERIMENT...")
@click.option(
    "--output", type=options.FOLDER, default=Path("docs/results"), help="Folder of the pages and their figures."
)
@click.option(
    "--add",
    is_flag=True,
    help="Keep the seeds of the existing page, from earlier runs or other machines, and add those of the folder.",
)
def command(folders: tuple[Path, ...], output: Path, add: bool) -> None:
    """Write a page (Markdown) with figures for each finished experiment: command, commit, machine, seeds, tables.

    Each detector's labels and scores are in a CSV file beside the page.
    """
    for page in write_results(folders, output, add):
        click.echo(page)
