"""Command `project status`."""

from pathlib import Path

import click

from mgral.cli.project import options
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import load_project
from mgral.labelling.status import next_step, status_lines


@click.command("status")
@options.folder
def command(folder: Path) -> None:
    """Show what is labelled, what is out, how good the last detector is, and what comes next."""
    from mgral.labelling.running import score_lines

    settings, project = load_project_settings(folder), load_project(folder)
    lines = [*status_lines(settings, project), *score_lines(folder, project), next_step(settings, project)]
    click.echo("\n".join(lines))
