"""Step `synthesize`: the synthetic data set, as a COCO folder."""

from pathlib import Path

import click

from mgral.cli import options
from mgral.config import SyntheticData, load_config
from mgral.data.synthetic import write_synthetic
from mgral.errors import InputError


@click.command("synthesize")
@options.config
@click.option("--output", type=options.FOLDER, required=True, help="Folder to make.")
def command(config_path: Path, output: Path) -> None:
    """Draw the images and boxes of `data.format: synthetic`, the same ones for the same `data.seed`."""
    config = load_config(config_path)
    if not isinstance(config.data, SyntheticData):
        raise InputError(f"data.format: {config.data.format} is not synthetic; read it with the step `data`")
    write_synthetic(config.data, output)
