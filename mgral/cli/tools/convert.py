"""Command `convert`: a data set in another format."""

import json
from pathlib import Path
from typing import get_args

import click

from mgral.cli import options
from mgral.cli.found import faults_shown, show_repairs
from mgral.config import load_config
from mgral.data.convert import FormatName, convert
from mgral.data.read import data_folder
from mgral.errors import number_of


@click.command("convert")
@options.config
@options.root
@click.option("--to", type=click.Choice(get_args(FormatName)), required=True, help="The new format.")
@click.option("--output", type=options.FOLDER, required=True, help="Folder to write; it must not exist.")
@options.as_json
def command(config_path: Path, root: Path | None, to: FormatName, output: Path, as_json: bool) -> None:
    """Write the data set of a configuration in another format: the same pictures, both splits, all boxes.

    The pictures are hard links if the file system supports them, otherwise copies. With links, a program that changes
    a picture in place changes the original too. Information that the format cannot store is counted. The new folder's
    config.yaml has a section `data` that reads it.
    """
    config = load_config(config_path)
    with faults_shown(as_json):
        conversion = convert(config.data, data_folder(config.data, root), to, output)
    show_repairs(conversion.findings)
    if as_json:
        counts = {"pictures": conversion.images, "hard_links": conversion.linked, "lost": dict(conversion.lost)}
        click.echo(json.dumps({**counts, **conversion.findings.as_json()}, indent=1))
        return
    click.echo(
        f"{output}: {number_of(conversion.images, 'picture')}, {conversion.linked} hard links and "
        f"{conversion.images - conversion.linked} copies"
    )
    for statement, count in conversion.lost.items():
        click.echo(f"  {count} {statement}")
