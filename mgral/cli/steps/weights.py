"""Step `weights`: what trainings of a detector start from."""

import sys
from pathlib import Path

import click
import torch
from safetensors.torch import save

from mgral.artefacts.files import write_bytes
from mgral.cli import options
from mgral.config import SyntheticData, load_config
from mgral.data.dataset import load_dataset
from mgral.errors import InputError
from mgral.models.build import random_detector
from mgral.models.weights import fitting, obtain_weights


@click.command("weights")
@options.config
@options.dataset
@options.written("Weights to write, by the detector's own names (safetensors).")
def command(config_path: Path, dataset: Path, output: Path) -> None:
    """Bring what trainings start from: the user's file, or published weights, downloaded where no package has them.

    Tensors of another shape, as the class head of other classes has, are left out: they start anew.
    """
    config = load_config(config_path)
    name = config.detector.weights
    if name is None:
        raise InputError(f"detector.name: {config.detector.name} starts from random weights; leave this step out")
    detector = random_detector(config.detector, len(load_dataset(dataset).categories), seed=0)
    mirror = None if isinstance(config.data, SyntheticData) else config.data.mirror
    fits, words = fitting(detector, obtain_weights(config.detector, mirror, output.parent))
    print(f"note: {name}: {words}", file=sys.stderr)
    write_bytes(output, save({key: one.clone(memory_format=torch.contiguous_format) for key, one in fits.items()}))
