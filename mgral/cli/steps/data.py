"""Step `data`: a data set of any format, checked, as COCO JSON of the training and the test images."""

import json
from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_all_json
from mgral.cli import options
from mgral.cli.found import faults_shown, show_repairs
from mgral.config import BudgetConfig, Config, check_budget, in_words, load_config
from mgral.data.check import Checked
from mgral.data.dataset import as_dataset
from mgral.data.derive import derive_settings, settings_lines
from mgral.data.findings import Finding
from mgral.data.read import data_folder, listing_files, read_splits
from mgral.data.summary import class_counts, counts_table, split_summary
from mgral.errors import number_of
from mgral.selection.pool import draw_initial
from mgral.selection.spending import check_boxes, prices_of

BUDGET = Finding("experiments ask for more labels than there are images", "ask for fewer, or add images")


@click.command("data")
@options.config
@options.root
@click.option("--train", type=options.FILE, help="COCO JSON of training images to write.")
@click.option("--test", type=options.FILE, help="COCO JSON of test images to write.")
@click.option("--repairs", type=options.FILE, help="JSON to write: repairs and their places.")
@options.as_json
def command(
    config_path: Path, root: Path | None, train: Path | None, test: Path | None, repairs: Path | None, as_json: bool
) -> None:
    """Read a data set and check it; print the images and boxes of each class and split.

    Harmless faults are repaired and counted on standard error. All other faults are listed at once, by kind; with
    --json every place is listed. Files are written only after all checks. Without --train and --test, it only checks.

    The headers of pictures are read here only if the annotations lack sizes; otherwise the step `cache` reads them
    and checks sizes and EXIF orientations.

    It also prints the settings of training, as set or as derived for the first seed: input size, anchors with the
    fraction of the initial boxes that they can match, and iterations.
    """
    config = load_config(config_path)
    with faults_shown(as_json):
        folder = data_folder(config.data, root)
        options.refuse_overwriting((train, test, repairs), (config_path, *listing_files(config.data, folder)))
        checked = read_splits(config.data, folder)
        try:
            check_budget(config, len(checked.train["images"]))
            if isinstance(config.budget, BudgetConfig):
                check_boxes(config, config.budget, as_dataset(checked.train))
        except ValueError as error:
            checked.findings.fault(BUDGET, str(error))
        checked.findings.raise_faults()
    splits, findings = {"train": checked.train, "test": checked.test}, checked.findings.as_json()
    files = ((train, checked.train), (test, checked.test), (repairs, findings["repairs"]))
    write_all_json({path: content for path, content in files if path})
    for name, coco in splits.items():
        click.echo(split_summary(name, coco), err=True)
    if checked.labelled is not None:
        pool = len(checked.train["images"]) - len(checked.labelled)
        click.echo(
            f"{number_of(len(checked.labelled), 'training image is', 'training images are')} labelled, "
            f"{pool} can be chosen",
            err=True,
        )
    if isinstance(config.budget, BudgetConfig):
        data = as_dataset(checked.train)
        images = config.budget.amount / prices_of(data, data.image_ids).mean()
        click.echo(f"a cycle's {in_words(config.budget)} pay for about {images:.0f} images", err=True)
    show_repairs(checked.findings)
    if checked.labelled is None or checked.labelled:
        click.echo("\n".join(_settings_lines(config, checked)), err=True)
    counts = {name: class_counts(coco) for name, coco in splits.items()}
    click.echo(json.dumps({**counts, **findings}, indent=1) if as_json else counts_table(counts))


def _settings_lines(config: Config, checked: Checked) -> list[str]:
    data, seed = as_dataset(checked.train), config.seeds[0]
    if checked.labelled is None:
        labelled = draw_initial(data.image_ids, config.initial, seed)
        drawn = f"{config.initial} images that are labelled at the start with seed {seed}"
    else:
        labelled, drawn = np.array(checked.labelled), f"{len(checked.labelled)} labelled images"
    derived_config = derive_settings(config, data, as_dataset(checked.test), labelled)
    title = f"{config.detector.trained.name}, by the {drawn}:"
    return [title, *(f"  {line}" for line in settings_lines(config, derived_config, data, labelled))]
