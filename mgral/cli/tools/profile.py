"""Command `profile`: where a profile of Snakemake is."""

import click

from mgral.engine.installed import profile


@click.command("profile")
@click.argument("name")
def command(name: str) -> None:
    """Print the folder of a profile: slurm. Copy it, and change the lines marked EDIT."""
    click.echo(profile(name))
