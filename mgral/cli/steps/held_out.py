"""Step `held_out`: what a detector finds in the labelled images that it has not learnt."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.formats.snapshot import load_snapshot
from mgral.data.image_set import load_image_set
from mgral.evaluation.trained import found_in


@click.command("held_out", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.images
@click.option(
    "--snapshot",
    type=options.FILE,
    required=True,
    help="The round's snapshot.json.",
)
@options.seed
@options.detector
@options.gpus
@options.vram_mb
@options.output_option("COCO results to write, image by image, ascending by id.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    dataset: Path,
    images: Path,
    snapshot: Path,
    seed: int,
    detector: Path,
    gpus: int,
    output: Path,
) -> None:
    """Detect on the labelled images that the detector of a repetition was not trained on, as `evaluate` does.

    Images that the data set leaves out, because they were not checked for a new class, are left out here too.
    """
    config = load_derived(load_config(config_path), derived)
    data = load_image_set(dataset, images, config.detector)
    image_ids = set(data.dataset.image_ids.tolist())
    wanted = sorted(image_ids.intersection(load_snapshot(snapshot).not_learnt(seed)))
    write_json(output, found_in(wanted, detector, data, config.detector, config.evaluation, gpus))
