"""Command `project dvc`."""

from contextlib import chdir
from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.cli.project import options
from mgral.errors import InputError, program
from mgral.labelling.opening import CONFIG, check_rounds, round_folder
from mgral.labelling.state import load_project

FILE = "dvc.yaml"


@click.command("dvc")
@options.folder
def command(folder: Path) -> None:
    """Write dvc.yaml, so that `dvc repro` computes all rounds again from their snapshots.

    Run it in the project's folder, and again after each round.
    """
    from mgral.engine.dvc_export import project_yaml

    project = load_project(folder)
    check_rounds(folder, project)
    if not project.rounds:
        raise InputError(f"there is no round yet; open the first: {program()} project next")
    rounds = [round_folder(Path(), number) / CONFIG for number in sorted(project.rounds)]
    with chdir(folder):  # as the paths of stages start there
        write_bytes(Path(FILE), project_yaml(rounds))
    click.echo(f"{folder / FILE}: {len(rounds)} rounds; compute them again: dvc repro")
    click.echo("  in a copy of the folder without results and .snakemake; there first: git init && dvc init")
