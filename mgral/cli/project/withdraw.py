"""Command `project withdraw`."""

from pathlib import Path

import click

from mgral.cli.project import options
from mgral.errors import number_of, program
from mgral.labelling.ledger import writing
from mgral.labelling.state import load_project


@click.command("withdraw")
@click.argument("pictures", nargs=-1, required=True)
@click.option("--reason", default="", help="The reason, for the ledger.")
@options.folder
def command(pictures: tuple[str, ...], reason: str, folder: Path) -> None:
    """Take pictures out of the project: from the next round on, they are not chosen or used."""
    with writing(folder) as writer:
        images = options.images_of(load_project(folder), pictures)
        writer.add("withdrawn", [{"image": image, "reason": reason} for image in images])
    click.echo(
        f"{number_of(len(images), 'picture is', 'pictures are')} withdrawn; back with: {program()} project recall"
    )
