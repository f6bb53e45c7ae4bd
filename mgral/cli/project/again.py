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
    """Write the pictures that were labelled before a class was there, with their boxes, into a new folder."""
    from mgral.labelling.batch_files import TASKS
    from mgral.labelling.running import BatchOptions, write_again
    from mgral.labelling.state import load_project

    count = write_again(folder, output, BatchOptions(formats))
    if not count:
        click.echo("no picture has to be looked at again")
        return
    click.echo(f"{count} pictures to look at again: load {output / TASKS} into your tool")
    pushed = bool(load_project(folder).pushed)
    if pushed:
        click.echo(f"  or send them: mgral project push {output}")
    click.echo(f"  when people have labelled: mgral project {'pull' if pushed else 'import FILE'}")
