"""Step `data`: a data set of any format, checked, as COCO JSON of the training and the test images."""

import json
from collections import Counter
from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import check_budget, load_config
from mgral.data.check import Checked
from mgral.data.read import data_folder, read_splits
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
        click.echo(_summary(name, split), err=True)
    counts = {name: _counts(split) for name, split in zip(("train", "test"), checked, strict=True)}
    click.echo(json.dumps(counts, indent=1) if as_json else _table(counts))


_Counts = dict[str, dict[str, int]]


def _counts(split: Checked) -> _Counts:
    """Count by class the boxes, the images that show one, and the crowd boxes, which are neither."""
    learnable = [a for a in split.coco["annotations"] if not a["iscrowd"]]
    boxes = Counter(a["category_id"] for a in learnable)
    images = Counter(category for _, category in {(a["image_id"], a["category_id"]) for a in learnable})
    ignored = Counter(a["category_id"] for a in split.coco["annotations"] if a["iscrowd"])
    return {
        c["name"]: {"images": images[c["id"]], "boxes": boxes[c["id"]], "ignored": ignored[c["id"]]}
        for c in split.coco["categories"]
    }


def _table(counts: dict[str, _Counts]) -> str:
    width = max(len("class"), *(len(name) for name in counts["train"]))
    lines = [
        f"{'class':{width}}" + "".join(f"{f'{split} {what}':>14}" for split in counts for what in ("images", "boxes"))
    ]
    for name in counts["train"]:
        numbers = [counts[split][name][what] for split in counts for what in ("images", "boxes")]
        lines.append(f"{name:{width}}" + "".join(f"{number:14}" for number in numbers))
    return "\n".join(lines)


def _summary(name: str, split: Checked) -> str:
    coco, faults = split.coco, split.faults
    empty = len(coco["images"]) - len({annotation["image_id"] for annotation in coco["annotations"]})
    return (
        f"{name}: {len(coco['images'])} images ({empty} without boxes), {len(coco['annotations'])} boxes, "
        f"{len(coco['categories'])} classes; boxes dropped: {faults['zero-area']} without area, {faults['outside']} "
        f"outside their image; boxes clipped: {faults['partly outside']}"
    )
