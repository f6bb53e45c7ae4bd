"""Step `config`: the resolved configuration that every other step of the experiment reads."""

import json
from pathlib import Path

import click

from mgral.artefacts.files import write_bytes
from mgral.config import config_schema, config_yaml
from mgral.engine.ownership import DVC, claim, started_by_dvc
from mgral.engine.workflow import configure
from mgral.errors import InputError


@click.command("config")
@click.option(
    "--configfile",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="YAML file to resolve; if given several times, later files override earlier ones.",
)
@click.option("--values", default="{}", help="Values on top of the files, as JSON.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write  [default: standard output]")
@click.option("--schema", is_flag=True, help="Print the JSON schema of the configuration and stop.")
def command(files: tuple[Path, ...], values: str, output: Path | None, schema: bool) -> None:
    """Validate a configuration and write it with every default filled in.

    As a stage of DVC it also writes .engine beside the output, so that Snakemake does not change the results.
    """
    if schema:
        click.echo(json.dumps(config_schema(), indent=1, sort_keys=True))
        return
    if not files:
        raise click.UsageError("give --configfile FILE")
    resolved = configure(files, _parse(values))
    if output:
        if started_by_dvc():
            claim(output.parent, DVC)
        write_bytes(output, config_yaml(resolved))
    else:
        click.echo(config_yaml(resolved), nl=False)


def _parse(values: str) -> dict[str, object]:
    try:
        parsed = json.loads(values)
    except ValueError as error:
        raise InputError(f"--values is not JSON ({error}); correct its syntax") from None
    if not isinstance(parsed, dict):
        raise InputError("--values is not a JSON object; give the keys of the configuration")
    return parsed
