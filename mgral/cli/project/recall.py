"""Command `project recall`."""

from pathlib import Path

import click

from mgral.cli.project import options
from mgral.errors import InputError, number_of
from mgral.labelling.ledger import writing
from mgral.labelling.state import load_project


@click.command("recall")
@click.argument("pictures", nargs=-1)
@click.option(
    "--round", "number", type=click.IntRange(min=1), help="All pictures of this round that nobody has begun to label."
)
@options.folder
def command(pictures: tuple[str, ...], number: int | None, folder: Path) -> None:
    """Let pictures that were sent and not labelled, or withdrawn, be chosen again.

    Labels that are imported for them later are used too.
    """
    if not pictures and number is None:
        raise click.UsageError("name pictures, or a round (--round)")
    with writing(folder) as writer:
        project = load_project(folder)
        if number is not None and number not in project.sent:
            raise InputError(f"--round: no batch of a round {number} was sent")
        images = set(options.images_of(project, pictures))
        images |= {image for image in project.of_round(number or -1) if project.images[image].state == "sent"}
        recalled = sorted(image for image in images if project.images[image].state in ("sent", "withdrawn"))
        writer.add("recalled", [{"image": image} for image in recalled])
    click.echo(f"{number_of(len(recalled), 'picture')} can be chosen again")
