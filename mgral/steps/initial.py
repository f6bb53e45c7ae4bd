"""Step `initial`: the labelled set that all strategies start from."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts import derive_seed, write_json
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.errors import InputError


@click.command("initial")
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), required=True, help="Resolved configuration."
)
@click.option("--dataset", type=click.Path(path_type=Path), required=True, help="COCO JSON of the training images.")
@click.option("--seed", type=int, required=True, help="Repetition that the images are drawn for.")
@click.option("--all", "label_all", is_flag=True, help="Label every image: the full-data reference.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="labelled.json to write.")
def command(config_path: Path, dataset: Path, seed: int, label_all: bool, output: Path) -> None:
    """Draw `initial` training images uniformly, without replacement; ids ascending."""
    config = load_config(config_path)
    ids = np.sort(load_dataset(dataset).image_ids)
    if not label_all:
        if config.initial > len(ids):
            raise InputError(
                f"initial: {config.initial} images asked for, {dataset} holds {len(ids)}; lower `initial`"
            )
        rng = np.random.default_rng(derive_seed(seed, "initial"))
        ids = np.sort(rng.choice(ids, config.initial, replace=False))
    write_json(output, {"images": ids.tolist()})
