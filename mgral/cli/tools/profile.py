"""Command `profile`: where a profile of Snakemake is."""

import click

from mgral.engine.installed import profile


@click.command("profile")
@click.argument("name")
def command(name: str) -> None:
    """Print the folder of a profile: slurm. Copy it to change what is marked EDIT there."""
    click.echo(profile(name))
