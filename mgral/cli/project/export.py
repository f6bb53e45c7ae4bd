"""Command `project export`."""

from pathlib import Path
from typing import get_args

import click

from mgral.cli import options as shared_options
from mgral.cli.project import options
from mgral.data.convert import FormatName


@click.command("export")
@click.argument("output", type=shared_options.FOLDER)
@click.option("--format", "label_format", type=click.Choice(get_args(FormatName)), required=True)
@click.option("--pictures", type=click.Choice(["link", "copy", "none"]), default="link", show_default=True)
@options.folder
def command(output: Path, label_format: FormatName, pictures: str, folder: Path) -> None:
    """Write the labelled pictures to a new folder, with the audit or test set as a separate split.

    Pictures that were not checked for a new class are left out and counted. So are pictures on which people disagree,
    if `conflicts` is `leave_out`.
    """
    from mgral.labelling.handing_over import export_project

    click.echo("\n".join(export_project(folder, output, label_format, pictures)))
