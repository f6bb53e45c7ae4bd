"""Command `timings`: what the jobs of an experiment cost, as Snakemake measured them."""

from pathlib import Path

import click

from mgral.cli import options
from mgral.config import load_config
from mgral.report.timings import write_timings


@click.command("timings")
@options.config
@click.option("--results", type=options.FOLDER, required=True, help="The experiment's results folder.")
def command(config_path: Path, results: Path) -> None:
    """Write timings/ in the results folder: the times of the jobs as an HTML page and as CSV.

    Snakemake does so itself at the end of every run that had a job to do. It is no job: times differ from run to
    run, and nothing may depend on them.
    """
    write_timings(load_config(config_path), results)
