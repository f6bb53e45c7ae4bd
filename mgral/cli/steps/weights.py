"""Step `weights`: what trainings of a detector start from."""

import sys
from pathlib import Path

import click
from safetensors.torch import save
from torch import contiguous_format

from mgral.artefacts.files import write_bytes
from mgral.cli import options
from mgral.config import load_config
from mgral.config.data import FolderData
from mgral.data.dataset import load_dataset
from mgral.data.derive import assume_settings
from mgral.errors import InputError
from mgral.models.build import random_detector
from mgral.models.detectors.timm import TimmConfig
from mgral.models.weights import check_backbone, fitting_weights, obtain_weights


@click.command("weights")
@options.config
@options.dataset
@options.output_option("Weights to write, with the detector's names (safetensors).")
def command(config_path: Path, dataset: Path, output: Path) -> None:
    """Write the weights that trainings start from: the user's file, or published weights, downloaded if needed.

    Tensors of another shape, such as a class head for other classes, are left out; these parts start at random.
    """
    config = load_config(config_path)
    section = config.detector.trained
    name = section.weights_file or section.weights
    if name is None:
        raise InputError(f"detector.name: {section.name} starts from random weights; leave this step out")
    # Of the settings that are derived none changes the shape of a weight.
    detector = random_detector(assume_settings(config).detector, len(load_dataset(dataset).categories), seed=0)
    mirror = config.data.mirror if isinstance(config.data, FolderData) else None
    start, line = fitting_weights(detector, obtain_weights(section, mirror, output.parent), name)
    if isinstance(section, TimmConfig) and not section.weights_file:
        check_backbone(detector, start, name)
    print(f"note: {line}" if section.weights_file else line, file=sys.stderr)
    write_bytes(output, save({key: tensor.clone(memory_format=contiguous_format) for key, tensor in start.items()}))
