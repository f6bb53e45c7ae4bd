"""Step `initial`: the labelled set that all strategies start from."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_json
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.errors import InputError


@click.command("initial")
@options.config
@options.dataset
@options.seed
@click.option("--all", "label_all", is_flag=True, help="Label every image: the full-data reference.")
@options.written("JSON to write: the ids labelled at the start.")
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
