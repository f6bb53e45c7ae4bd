"""Step `index`: where the images of a round are among the pixels that all rounds share."""

from pathlib import Path

import click

from mgral.cli import options
from mgral.data.chunks import SplitIndex, index_splits
from mgral.data.dataset import load_dataset
from mgral.data.formats.snapshot import PICTURES, load_snapshot


@click.command("index")
@click.option("--snapshot", type=options.FILE, required=True, help="The round's snapshot.json.")
@click.option("--pixels", type=options.FOLDER, required=True, help="Output folder of the step `pictures`.")
@click.option(
    "--dataset",
    "datasets",
    type=options.FILE,
    multiple=True,
    required=True,
    help="Output of the step `data`.",
)
@click.option("--output", "outputs", type=options.FILE, multiple=True, required=True, help="Index to write (JSON).")
@click.option("--thumbnails", type=options.FILE, multiple=True, required=True, help="Thumbnails to write (.npy).")
def command(
    snapshot: Path,
    pixels: Path,
    datasets: tuple[Path, ...],
    outputs: tuple[Path, ...],
    thumbnails: tuple[Path, ...],
) -> None:
    """Write, for each --dataset, the file and row of the pixels of each image, and collect their thumbnails.

    The output replaces an image cache: steps take it as --images.
    """
    if not len(datasets) == len(outputs) == len(thumbnails):
        raise click.UsageError("give --output and --thumbnails for each --dataset, in one order")
    split_files = zip(datasets, outputs, thumbnails, strict=True)
    splits = [SplitIndex(load_dataset(path), index, thumbnail_file) for path, index, thumbnail_file in split_files]
    index_splits(load_snapshot(snapshot), snapshot.parent.parent / PICTURES, pixels, splits)
