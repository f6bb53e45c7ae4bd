"""Command `project scan`."""

from pathlib import Path

import click

from mgral.cli.found import show_repairs
from mgral.cli.project import options
from mgral.errors import number_of
from mgral.labelling.ledger import writing
from mgral.labelling.rounds import record_pictures
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import load_project


@click.command("scan")
@options.folder
@click.option(
    "--changed",
    type=click.Choice(["refuse", "new"]),
    default="refuse",
    help="Files whose bytes have changed: an error, or new pictures, with the old ones missing.",
)
def command(folder: Path, changed: str) -> None:
    """Search for new, renamed and missing pictures; `next` does this too."""
    with writing(folder) as writer:
        settings, project_before = load_project_settings(folder), load_project(folder)
        project, findings, missing = record_pictures(folder, writer, settings, project_before, changed == "new")
    show_repairs(findings, "pictures:", "")
    new = len(project.pictures) - len(project_before.pictures)
    click.echo(f"{number_of(len(project.pictures), 'picture')}, {new} new, {len(missing)} missing")
