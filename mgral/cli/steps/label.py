"""Step `label`: the chosen images join the labelled set, with the labels that the data set holds for them."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.data.dataset import load_dataset
from mgral.selection.pool import add_selection, read_image_ids


@click.command("label")
@options.dataset
@options.labelled
@click.option("--selection", type=options.FILE, required=True, help="selection.json of this cycle.")
@options.written("JSON to write: the ids labelled in the next cycle.")
def command(dataset: Path, labelled: Path, selection: Path, output: Path) -> None:
    """Write the union of the labelled and the selected images, ids ascending."""
    known, before, chosen = load_dataset(dataset).image_ids, read_image_ids(labelled), read_image_ids(selection)
    write_json(output, {"images": add_selection(known, before, chosen).tolist()})
