"""Step `prelabels`: what the round's detector finds in the images that a person is to label."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.evaluation.trained import found_in
from mgral.selection.pool import read_batch

LOWEST_SCORE = 0.05
"""Lowest score of the boxes that are written; those proposed to people usually need a higher one."""


@click.command("prelabels", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.images
@click.option("--selection", type=options.FILE, required=True, help="JSON with the images to label next.")
@options.detector
@options.gpus
@options.vram_mb
@options.output_option("COCO results to write, image by image in the order of the selection.")
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
    """Propose boxes in the chosen images for people to correct: detections with a score of 0.05 or more.

    For a detector that is a command, these are its detections in the pool.
    """
    config = load_derived(load_config(config_path), derived)
    data = load_image_set(dataset, images, config.detector)
    limits = config.evaluation.model_copy(update={"score_threshold": LOWEST_SCORE})
    write_json(output, found_in(read_batch(selection), detector, data, config.detector, limits, gpus))
