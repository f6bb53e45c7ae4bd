"""Command `constraints`: the versions with which reruns are exact."""

import click

from mgral.engine.pins import constraints


@click.command("constraints")
def command() -> None:
    """Print the package versions that MGRAL is tested with; exact reruns on other machines need these.

    \b
    To install them, with the wheel that MGRAL was installed from:
      mgral constraints > constraints.txt
      uv tool install --force WHEEL --constraints constraints.txt
    """
    click.echo(constraints(), nl=False)
