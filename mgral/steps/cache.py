"""Step `cache`: images decoded once, at the detector's resolution."""

from pathlib import Path

import click

from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import cache_images
from mgral.data.read import data_folder
from mgral.steps import options


@click.command("cache")
@options.config
@options.dataset
@click.option("--split", type=click.Choice(["train", "test"]), required=True, help="Which split it is, for messages.")
@options.root
@click.option("--threads", type=click.IntRange(min=1), default=1, envvar="OMP_NUM_THREADS", help="Decoding threads.")
@options.written("Array to write (.npy).")
def command(config_path: Path, dataset: Path, split: str, root: Path | None, threads: int, output: Path) -> None:
    """Write every image as uint8 [N, height, width, 3] RGB, in the order of the data set.

    A file that is truncated, no image, or not of the annotated size is an error that names it.
    """
    config = load_config(config_path)
    size = (config.detector.width, config.detector.height)
    cache_images(load_dataset(dataset), data_folder(config.data, root), size, output, threads, f"cache {split}")
