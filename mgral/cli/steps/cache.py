"""Step `cache`: the images of both splits decoded once, as the detector wants them, or their files as one."""

import json
from pathlib import Path

import click

from mgral.cli import options
from mgral.cli.found import faults_shown, show_repairs
from mgral.config import PictureSettings, load_config
from mgral.data.cache import SplitFiles, cache_splits
from mgral.data.dataset import load_dataset
from mgral.data.derive import load_derived
from mgral.data.findings import ALL_LISTED
from mgral.data.read import data_folder

DATASET = "COCO JSON written by the step `data`."


@click.command("cache")
@options.config
@options.derived
@click.option("--dataset", "datasets", type=options.FILE, multiple=True, required=True, help=DATASET)
@click.option(
    "--split", "names", type=click.Choice(["train", "test"]), multiple=True, required=True, help="Name of the split."
)
@options.root
@click.option("--threads", type=click.IntRange(min=1), default=1, envvar="OMP_NUM_THREADS", help="Decoding threads.")
@click.option("--output", "outputs", type=options.FILE, multiple=True, required=True, help="Array to write (.npy).")
@click.option("--thumbnails", type=options.FILE, multiple=True, help="Thumbnails to write (.npy).")
@click.option("--pictures", type=options.FILE, help="JSON to write: repairs of pictures.")
@options.as_json
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    datasets: tuple[Path, ...],
    names: tuple[str, ...],
    root: Path | None,
    threads: int,
    outputs: tuple[Path, ...],
    thumbnails: tuple[Path, ...],
    pictures: Path | None,
    as_json: bool,
) -> None:
    """Write all images as uint8 [N, height, width, 3] RGB, in the order of the data set; or their files.

    With `detector.cache: encoded` the output is one uint8 array with the offsets of the files, then the files.
    Thumbnails are grey, uint8 [N, 24, 24]. Repeat --dataset, --split, --output and --thumbnails for several splits.
    If images are missing, damaged, or not of the annotated size, all are listed at once and nothing is written.
    """
    if not len(datasets) == len(names) == len(outputs) == (len(thumbnails) or len(names)):
        raise click.UsageError("give --split, --output and, if any, --thumbnails for each --dataset, in one order")
    options.refuse_overwriting((*outputs, *thumbnails, pictures), (config_path, *datasets))
    config = load_derived(load_config(config_path), derived)
    thumbnail_files: tuple[Path | None, ...] = thumbnails or (None,) * len(names)
    split_files = zip(names, datasets, outputs, thumbnail_files, strict=True)
    canvas, keep_files = config.detector.image_canvas, config.detector.caches_files
    settings = config.data if isinstance(config.data, PictureSettings) else PictureSettings()
    with faults_shown(as_json, in_log=True):
        splits = [SplitFiles(name, load_dataset(path), output, file) for name, path, output, file in split_files]
        folder = data_folder(config.data, root)
        findings = cache_splits(splits, folder, canvas, settings, keep_files, threads, pictures)
    if as_json:
        click.echo(json.dumps(findings.as_json(), indent=1))
    show_repairs(findings, all_listed=f" ({pictures} lists all)" if pictures else ALL_LISTED)
