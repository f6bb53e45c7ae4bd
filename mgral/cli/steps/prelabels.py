"""Step `prelabels`: what the round's detector finds in the images that a person is to label."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.data.results import load_found
from mgral.evaluation.detect import detect_images
from mgral.evaluation.evaluate import found_results
from mgral.models.build import load_detector
from mgral.selection.pool import read_image_ids

LOWEST_SCORE = 0.05
"""Boxes below it are left out; whoever gives them to people may ask for more."""


@click.command("prelabels", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.images
@click.option("--selection", type=options.FILE, required=True, help="JSON with the images to label next.")
@options.detector
@options.gpus
@options.written("COCO results to write, image by image in the order of the selection.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    dataset: Path,
    images: Path,
    selection: Path,
    detector: Path,
    gpus: int,
    output: Path,
) -> None:
    """Detect on the chosen images, for people to correct what was found: boxes with a score of 0.05 or more.

    Of a detector that is a command, what it has found in the pool.
    """
    device, config = choose_device(gpus), load_derived(load_config(config_path), derived)
    data, limits = load_image_set(dataset, images, config.detector), config.evaluation
    limits = limits.model_copy(update={"score_threshold": LOWEST_SCORE})
    rows = data.dataset.rows(read_image_ids(selection))
    if config.detector.command_gives is None:
        network = load_detector(detector, config.detector, len(data.dataset.categories)).to(device)
        found = detect_images(network, data.dataset, data.images, rows, limits)
    else:
        found = found_results(load_found(detector, "train"), data.dataset, rows, limits)
    write_json(output, found)
