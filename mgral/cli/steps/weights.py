"""Step `weights`: what a detector's backbone starts from."""

from pathlib import Path

import click

from mgral.cli import options
from mgral.config import SyntheticData, load_config
from mgral.data.download.fetch import fetch
from mgral.errors import InputError
from mgral.models.weights import published_weights


@click.command("weights")
@options.config
@options.written("State dict to write (.pth), as torchvision publishes it.")
def command(config_path: Path, output: Path) -> None:
    """Download the ImageNet weights of the detector's backbone, from `data.mirror` where there is one."""
    config = load_config(config_path)
    name = config.detector.backbone_weights
    if name is None:
        raise InputError(f"detector.name: {config.detector.name} starts from random weights; leave this step out")
    mirror = None if isinstance(config.data, SyntheticData) else config.data.mirror
    fetch(published_weights(name), output, mirror)
