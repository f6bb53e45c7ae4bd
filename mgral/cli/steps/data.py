"""Step `data`: a data set of any format, checked, as COCO JSON of the training and the test images."""

import json
from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import check_budget, load_config
from mgral.data.findings import FaultyDataError, described
from mgral.data.read import data_folder, read_splits
from mgral.data.summary import class_counts, counts_table, split_summary
from mgral.errors import InputError


@click.command("data")
@options.config
@options.root
@click.option("--train", type=options.FILE, required=True, help="COCO JSON of training images to write.")
@click.option("--test", type=options.FILE, required=True, help="COCO JSON of test images to write.")
@click.option("--repairs", type=options.FILE, help="JSON to write: what was repaired, and where.")
@options.as_json
def command(
    config_path: Path, root: Path | None, train: Path, test: Path, repairs: Path | None, as_json: bool
) -> None:
    """Read a data set and check it; print the images and boxes of each class and split.

    What is harmless is used, and what was done is counted on standard error. Everything that is wrong is listed at
    once, by kind; with --json every place is listed. Nothing is written before everything is checked.

    The headers of pictures are read here only where the annotations lack sizes; otherwise the step `cache` reads
    them, and checks sizes and EXIF orientations.
    """
    config = load_config(config_path)
    try:
        checked = read_splits(config.data, data_folder(config.data, root))
    except FaultyDataError as error:
        if as_json:
            click.echo(json.dumps(error.findings.as_json(), indent=1))
        raise
    try:
        check_budget(config, len(checked.train["images"]))
    except ValueError as error:
        raise InputError(str(error)) from None
    splits = {"train": checked.train, "test": checked.test}
    for (name, coco), path in zip(splits.items(), (train, test), strict=True):
        write_json(path, coco)
        click.echo(split_summary(name, coco), err=True)
    found = checked.findings.as_json()
    if repairs:
        write_json(repairs, found["repairs"])
    if checked.findings.repairs:
        click.echo("\n".join(["used after repairs:", *described(checked.findings.repairs)]), err=True)
    counts = {name: class_counts(coco) for name, coco in splits.items()}
    click.echo(json.dumps({**counts, **found}, indent=1) if as_json else counts_table(counts))
