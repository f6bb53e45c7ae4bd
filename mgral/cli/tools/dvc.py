"""Command `dvc`: the workflow as a dvc.yaml."""

from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.cli import options
from mgral.engine.dvc_export import dvc_yaml, project_yaml


@click.command("dvc")
@click.option("--configfile", type=options.FILE, default=Path("params.yaml"), help="Configuration of the experiment.")
@click.option(
    "--round",
    "rounds",
    type=options.FILE,
    multiple=True,
    help="In place of --configfile: configuration of a round of a project; repeat it for all rounds, in order.",
)
@click.option("--output", type=options.FILE, help="File to write  [default: standard output]")
def command(configfile: Path, rounds: tuple[Path, ...], output: Path | None) -> None:
    """Write the jobs that Snakemake plans for a configuration as DVC stages, so that `dvc repro` runs the same jobs.

    Run it in the folder of the experiment, and again if the number of seeds, strategies, cycles or variants changes.
    """
    content = project_yaml(rounds) if rounds else dvc_yaml(configfile)
    if output:
        write_bytes(output, content)
    else:
        click.echo(content, nl=False)
