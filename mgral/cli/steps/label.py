"""Step `label`: the chosen images join the labelled set, with the labels that the data set contains for them."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.data.dataset import load_dataset
from mgral.selection.pool import add_selection, read_image_ids
from mgral.selection.spending import load_to_spend, pay


@click.command("label")
@options.dataset
@options.labelled
@click.option("--selection", type=options.FILE, required=True, help="selection.json of this cycle.")
@options.output_option("JSON to write: the ids labelled in the next cycle.")
def command(dataset: Path, labelled: Path, selection: Path, output: Path) -> None:
    """Write the union of the labelled and the selected images, ids ascending.

    With a budget in boxes the selected images are labelled in order until the boxes are spent. The remainder or
    excess is written too, and counts in the next cycle.
    """
    data, labelled_ids, chosen_ids = load_dataset(dataset), read_image_ids(labelled), read_image_ids(selection)
    union = add_selection(data.image_ids, labelled_ids, chosen_ids)
    boxes = load_to_spend(selection)
    if boxes is None:
        write_json(output, {"images": union.tolist()})
        return
    paid = pay(data, chosen_ids, boxes)
    write_json(output, {"images": np.union1d(labelled_ids, paid.images).tolist(), "unspent": paid.unspent})
    click.echo(
        f"{len(paid.images)} of {len(chosen_ids)} selected images are labelled: {boxes - paid.unspent} boxes, where "
        f"{boxes} could be spent",
        err=True,
    )
