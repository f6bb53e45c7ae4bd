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
@click.option("--to", type=click.Choice(get_args(FormatName)), required=True, help="The other format.")
@click.option("--output", type=options.FOLDER, required=True, help="Folder to write; it must not be there.")
@options.as_json
def command(config_path: Path, root: Path | None, to: FormatName, output: Path, as_json: bool) -> None:
    """Write the data set of a configuration in another format: the same pictures, both splits, all boxes.

    The pictures are hard links where the file system can, else copies: a program that changes one in place changes
    the original too. What the format cannot carry is counted. `data` in the new folder's config.yaml reads it.
    """
    config = load_config(config_path)
    with faults_shown(as_json):
        done = convert(config.data, data_folder(config.data, root), to, output)
    show_repairs(done.findings)
    if as_json:
        counts = {"pictures": done.images, "hard_links": done.linked, "lost": dict(done.lost)}
        click.echo(json.dumps({**counts, **done.findings.as_json()}, indent=1))
        return
    click.echo(
        f"{output}: {number_of(done.images, 'picture')}, {done.linked} hard links and "
        f"{done.images - done.linked} copies"
    )
    for statement, count in done.lost.items():
        click.echo(f"  {count} {statement}")
