"""Step `groups`: near-copies among the images, within the training images and across the splits."""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.groups import Groups, find_groups, groups_by_name
from mgral.data.thumbnails import SIDE, load_thumbnails


@click.command("groups")
@options.config
@options.dataset
@click.option("--test-dataset", type=options.FILE, required=True, help="COCO JSON of the test images.")
@click.option("--thumbnails", type=options.FILE, required=True, help="Thumbnails of the training images (.npy).")
@click.option("--test-thumbnails", type=options.FILE, required=True, help="Thumbnails of the test images (.npy).")
@options.output_option("JSON to write: groups of near-copies, and test images with one among the training images.")
def command(
    config_path: Path, dataset: Path, test_dataset: Path, thumbnails: Path, test_thumbnails: Path, output: Path
) -> None:
    """Find pictures that are near-copies of each other, such as neighbouring frames of a video.

    Near-copies have similar grey thumbnails of 24 x 24 pixels, or the same part of the name: see `near_copies` in the
    configuration. Standard error shows how many test images have a near-copy among the training images; these make
    scores too high.
    """
    data, settings = load_dataset(dataset), load_config(config_path).near_copies
    train, test = data.image_ids, load_dataset(test_dataset).image_ids
    train_pixels, test_pixels = load_thumbnails(thumbnails, len(train)), load_thumbnails(test_thumbnails, len(test))
    groups = find_groups(train, train_pixels, test, test_pixels, settings)
    if settings.pattern is not None:
        groups = replace(groups, groups=groups_by_name(train, data.file_names, settings.pattern))
    write_json(output, groups.as_json())
    click.echo(_summary(groups, len(train)), err=True)
    alike = len(test_pixels) - len(np.unique(test_pixels.reshape(len(test_pixels), SIDE**2), axis=0))
    if alike:
        warning = f"warning: {alike} test images have the thumbnail of an earlier one: copies count twice in scores"
        click.echo(warning, err=True)


def _summary(groups: Groups, images: int) -> str:
    grouped = sum(map(len, groups.groups))
    lines = [
        f"{'warning: ' if groups.pairs else ''}{len(groups.pairs)} of {groups.test_images} test images "
        f"({groups.share:.1%}) have a near-copy among the training images; {grouped} of {images} training images are "
        f"in {len(groups.groups)} groups of near-copies"
    ]
    if groups.pairs:
        lines.append("  scores can be better than on new pictures; split by video, place or day instead")
    if groups.flat_test_images:
        lines.append(
            f"{groups.flat_test_images} more test images are as similar to a training image, but have too little "
            "contrast for a decision"
        )
    return "\n".join(lines)
