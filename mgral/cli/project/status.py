"""Command `project status`."""

from pathlib import Path

import click

from mgral.cli.project import options
from mgral.labelling.batches import missing_pictures
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import load_project
from mgral.labelling.status import next_step, status_lines


@click.command("status")
@options.folder
def command(folder: Path) -> None:
    """Show what is labelled and out, the detectors' scores, whether to continue, and the next command."""
    from mgral.labelling.experiments.comparing import cross_validated_lines
    from mgral.labelling.progress.advice import progress_lines, project_progress
    from mgral.labelling.running import score_lines

    settings, project = load_project_settings(folder), load_project(folder)
    missing = missing_pictures(folder, settings, project)
    lines = [*status_lines(settings, project, missing), *score_lines(folder, project)]
    lines += cross_validated_lines(folder, project)
    lines += progress_lines(project_progress(folder, settings, project))
    lines.append(next_step(settings, project))
    click.echo("\n".join(lines))
