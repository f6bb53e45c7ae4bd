"""Step `input_size`: the size at which images are shown to the detector, from the images."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.derive import derive_from_images


@click.command("input_size")
@options.config
@click.option(
    "--dataset",
    "datasets",
    type=options.FILE,
    multiple=True,
    required=True,
    help="COCO JSON written by the step `data`; repeat it for the other split.",
)
@options.output_option("JSON to write: detector.width and detector.height.")
def command(config_path: Path, datasets: tuple[Path, ...], output: Path) -> None:
    """Derive the input size from the sizes of all images, labelled or not: one size serves all seeds.

    No label is read. Nothing is derived if detector.width and detector.height are set.
    """
    sizes = np.concatenate([load_dataset(path).sizes for path in datasets])
    write_json(output, derive_from_images(load_config(config_path), sizes))
