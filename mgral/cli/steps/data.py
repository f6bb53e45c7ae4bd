"""Step `data`: a data set of any format, checked, as COCO JSON of the training and the test images."""

import json
from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import check_budget, load_config
from mgral.data.read import data_folder, read_splits
from mgral.data.summary import class_counts, counts_table, split_summary
from mgral.errors import InputError


@click.command("data")
@options.config
@options.root
@click.option("--train", type=options.FILE, required=True, help="COCO JSON of training images to write.")
@click.option("--test", type=options.FILE, required=True, help="COCO JSON of test images to write.")
@options.as_json
def command(config_path: Path, root: Path | None, train: Path, test: Path, as_json: bool) -> None:
    """Read a data set and check it; print the images and boxes of each class and split.

    Boxes without area or outside their image are dropped and boxes that leave it clipped, with a count on standard
    error, unless `data.strict` makes them errors. Nothing is written before everything is checked.
    """
    config = load_config(config_path)
    checked = read_splits(config.data, data_folder(config.data, root))
    try:
        check_budget(config, len(checked[0].coco["images"]))
    except ValueError as error:
        raise InputError(str(error)) from None
    for name, path, split in zip(("train", "test"), (train, test), checked, strict=True):
        write_json(path, split.coco)
        click.echo(split_summary(name, split), err=True)
    counts = {name: class_counts(split) for name, split in zip(("train", "test"), checked, strict=True)}
    click.echo(json.dumps(counts, indent=1) if as_json else counts_table(counts))
