"""Command `snakemake`: Snakemake on the workflow of this package."""

import sys

import click

from mgral.cli import options
from mgral.engine.run import call_snakemake


@click.command("snakemake", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@options.cpu
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(words: tuple[str, ...]) -> None:
    """Run Snakemake in the working directory, on the workflow and the default profile of this package.

    All words except --cpu are passed to Snakemake, also --help. --cpu runs all jobs on the CPU.
    """
    sys.exit(call_snakemake(words))
