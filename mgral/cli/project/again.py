"""Command `project again`."""

from pathlib import Path

import click

from mgral.cli import options as shared_options
from mgral.cli.project import options
from mgral.labelling.exchange.read import FormatName


@click.command("again")
@click.argument("output", type=shared_options.FOLDER)
@options.folder
@options.task_formats
def command(output: Path, folder: Path, formats: tuple[FormatName, ...]) -> None:
    """Write tasks for the pictures that were labelled before a class existed, with their boxes, to a new folder."""
    from mgral.labelling.running import BatchOptions, second_look_lines, write_again

    count = write_again(folder, output, BatchOptions(formats))
    click.echo("\n".join(second_look_lines(folder, output, count)))
