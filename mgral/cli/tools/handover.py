"""Command `handover`: what one engine has made, made known to the other."""

import click

from mgral.engine.handover import hand_over_to_dvc, hand_over_to_snakemake

TAKERS = {"dvc": hand_over_to_dvc, "snakemake": hand_over_to_snakemake}


@click.command("handover")
@click.argument("engine", type=click.Choice(list(TAKERS)))
def command(engine: str) -> None:
    """Let ENGINE take over what the other engine has made and is up to date, instead of making it again.

    Run it in the project's folder, whose dvc.yaml says which experiment: `handover dvc` before `dvc repro`, and
    `handover snakemake` after it, or after `dvc pull`.
    """
    stages = TAKERS[engine]()
    plural = "s" * (stages > 1)
    click.echo(f"{engine} takes over {stages} stage{plural}" if stages else f"{engine} has nothing to take over")
