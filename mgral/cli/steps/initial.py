"""Step `initial`: the labelled set that all strategies start from."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.formats.snapshot import load_snapshot
from mgral.selection.pool import draw_initial


@click.command("initial")
@options.config
@options.dataset
@options.seed
@click.option("--all", "label_all", is_flag=True, help="Label every image, for the full-data detector.")
@click.option("--snapshot", type=options.FILE, help="In a project: the round's labels, in place of a random draw.")
@options.output_option("JSON to write: the ids labelled at the start.")
def command(
    config_path: Path, dataset: Path, seed: int, label_all: bool, snapshot: Path | None, output: Path
) -> None:
    """Draw `initial` training images uniformly, without replacement; ids ascending.

    In a project the labelled images are those of the snapshot that are in the data set, without those that the
    snapshot leaves out of this repetition's training.
    """
    config, image_ids = load_config(config_path), load_dataset(dataset).image_ids
    if snapshot:
        opened = load_snapshot(snapshot)
        learnt = {image.id for image in opened.labelled}.difference(opened.not_learnt(seed))
        ids = np.intersect1d(image_ids, sorted(learnt)).astype(np.int64)
    else:
        ids = np.sort(image_ids) if label_all else draw_initial(image_ids, config.initial, seed)
    write_json(output, {"images": ids.tolist()})
