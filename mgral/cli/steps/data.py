"""Step `data`: a data set of any format, checked, as COCO JSON of the training and the test images."""

import json
from pathlib import Path

import click

from mgral.artefacts.files import write_all_json
from mgral.cli import options
from mgral.cli.found import faults_shown, show_repairs
from mgral.config import check_budget, load_config
from mgral.data.findings import Kind
from mgral.data.read import data_folder, listing_files, read_splits
from mgral.data.summary import class_counts, counts_table, split_summary

BUDGET = Kind("experiments ask for more labels than there are images", "ask for fewer, or add images")


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
    once, by kind; with --json every place is listed. Nothing is written before everything is checked, and no file
    is replaced before all are written.

    The headers of pictures are read here only where the annotations lack sizes; otherwise the step `cache` reads
    them, and checks sizes and EXIF orientations.
    """
    config = load_config(config_path)
    with faults_shown(as_json):
        folder = data_folder(config.data, root)
        options.refuse_overwriting((train, test, repairs), (config_path, *listing_files(config.data, folder)))
        checked = read_splits(config.data, folder)
        try:
            check_budget(config, len(checked.train["images"]))
        except ValueError as error:
            checked.findings.fault(BUDGET, str(error))
        checked.findings.raise_faults()
    splits, found = {"train": checked.train, "test": checked.test}, checked.findings.as_json()
    write_all_json({train: checked.train, test: checked.test} | ({repairs: found["repairs"]} if repairs else {}))
    for name, coco in splits.items():
        click.echo(split_summary(name, coco), err=True)
    show_repairs(checked.findings)
    counts = {name: class_counts(coco) for name, coco in splits.items()}
    click.echo(json.dumps({**counts, **found}, indent=1) if as_json else counts_table(counts))
