"""Command `project report`."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.cli.project import options
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import load_project


@click.command("report")
@options.folder
def command(folder: Path) -> None:
    """Write report.html to the project's folder: curve, forecast, hours of labelling, and rounds, in one file."""
    from mgral.labelling.progress.advice import project_progress
    from mgral.labelling.progress.page import PAGE, progress_page

    settings, project = load_project_settings(folder), load_project(folder)
    page = progress_page(folder, settings, project, project_progress(folder, settings, project))
    write_bytes(folder / PAGE, page.encode())
    click.echo(folder / PAGE)
