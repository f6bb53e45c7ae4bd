"""Command `verify`: whether artefacts are what their steps wrote."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from mgral.cli import options
from mgral.engine.verification import verify
from mgral.errors import StepError


@click.command("verify")
@click.argument("folder", type=options.FOLDER)
@options.as_json
def command(folder: Path, as_json: bool) -> None:
    """Compare the artefacts of an experiment, results/NAME, with the records of their steps.

    Lists artefacts that were altered or are missing, those made with other settings or from other inputs than the
    present ones, and how each was made; with --json also settings and inputs. Exit code 1 if there are any. Inputs of
    100 files or more in one folder, such as the pictures of a data set, are not compared.
    """
    count, faults = verify(folder)
    if as_json:
        click.echo(json.dumps([asdict(fault) for fault in faults], indent=1, sort_keys=True))
    else:
        for fault in faults:
            click.echo(fault)
    if faults:
        raise StepError(f"{len(faults)} of {count} artefacts of {folder} are not as their steps would write them now")
    click.echo(f"{count} artefacts of {folder} are as their steps wrote them", err=as_json)
