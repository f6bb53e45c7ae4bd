"""Step `cache`: images decoded once, as the detector wants them, or their files as one."""

from pathlib import Path

import click

from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import cache_images, pack_images
from mgral.data.read import data_folder


@click.command("cache")
@options.config
@options.dataset
@click.option("--split", type=click.Choice(["train", "test"]), required=True, help="Which split it is, for messages.")
@options.root
@click.option("--threads", type=click.IntRange(min=1), default=1, envvar="OMP_NUM_THREADS", help="Decoding threads.")
@options.written("Array to write (.npy).")
def command(config_path: Path, dataset: Path, split: str, root: Path | None, threads: int, output: Path) -> None:
    """Write every image as uint8 [N, height, width, 3] RGB, in the order of the data set; or every file.

    Files are what `detector.cache: encoded` asks for: one uint8 array that begins with where each of them starts.
    A file that is truncated, no image, or not of the annotated size is an error that names it.
    """
    config = load_config(config_path)
    write = pack_images if config.detector.caches_files else cache_images
    folder, canvas = data_folder(config.data, root), config.detector.image_canvas
    write(load_dataset(dataset), folder, canvas, output, threads, f"cache {split}")
