"""Step `cache`: the images of both splits decoded once, as the detector wants them, or their files as one."""

import json
from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import PictureSettings, load_config
from mgral.data.cache import SplitFiles, cache_splits
from mgral.data.dataset import load_dataset
from mgral.data.findings import FaultyDataError, described
from mgral.data.read import data_folder


@click.command("cache")
@options.config
@options.dataset
@click.option("--test-dataset", type=options.FILE, required=True, help="The same of the test images.")
@options.root
@click.option("--threads", type=click.IntRange(min=1), default=1, envvar="OMP_NUM_THREADS", help="Decoding threads.")
@click.option("--train", type=options.FILE, required=True, help="Array of training images to write (.npy).")
@click.option("--test", type=options.FILE, required=True, help="Array of test images to write (.npy).")
@click.option("--train-thumbnails", type=options.FILE, required=True, help="Their thumbnails to write (.npy).")
@click.option("--test-thumbnails", type=options.FILE, required=True, help="Those of test images to write (.npy).")
@click.option("--pictures", type=options.FILE, required=True, help="JSON to write: what was done to odd pictures.")
@options.as_json
def command(
    config_path: Path,
    dataset: Path,
    test_dataset: Path,
    root: Path | None,
    threads: int,
    train: Path,
    test: Path,
    train_thumbnails: Path,
    test_thumbnails: Path,
    pictures: Path,
    as_json: bool,
) -> None:
    """Write every image as uint8 [N, height, width, 3] RGB, in the order of the data set; or every file.

    Files are what `detector.cache: encoded` asks for: one uint8 array that begins with where each of them starts.
    Thumbnails are grey, uint8 [N, 24, 24]. All images of both splits that are missing, damaged, or not of the
    annotated size are named at once, and then nothing is written.
    """
    config = load_config(config_path)
    splits = (
        SplitFiles("train", load_dataset(dataset), train, train_thumbnails),
        SplitFiles("test", load_dataset(test_dataset), test, test_thumbnails),
    )
    folder, canvas = data_folder(config.data, root), config.detector.image_canvas
    settings = config.data if isinstance(config.data, PictureSettings) else PictureSettings()
    try:
        findings = cache_splits(splits, folder, canvas, settings, config.detector.caches_files, threads)
    except FaultyDataError as error:
        if as_json:
            click.echo(json.dumps(error.findings.as_json(), indent=1))
        raise
    write_json(pictures, findings.as_json()["repairs"])
    if as_json:
        click.echo(json.dumps(findings.as_json(), indent=1))
    if findings.repairs:
        click.echo("\n".join(["used after repairs:", *described(findings.repairs)]), err=True)
