"""Step `label`: the chosen images join the labelled set, with the labels that the data set holds for them."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.data.dataset import load_dataset
from mgral.errors import InputError
from mgral.selection.pool import read_image_ids


@click.command("label")
@options.dataset
@options.labelled
@click.option("--selection", type=options.FILE, required=True, help="selection.json of this cycle.")
@options.written("JSON to write: the ids labelled in the next cycle.")
def command(dataset: Path, labelled: Path, selection: Path, output: Path) -> None:
    """Write the union of the labelled and the selected images, ids ascending."""
    before, chosen = set(read_image_ids(labelled)), set(read_image_ids(selection))
    known = set(load_dataset(dataset).image_ids.tolist())
    if again := sorted(before & chosen):
        raise InputError(f"{selection}: images {again[:5]} are labelled already; delete the file and select again")
    for path, ids in ((labelled, before), (selection, chosen)):
        if unknown := sorted(ids - known):
            raise InputError(
                f"{path}: images {unknown[:5]} are not in {dataset}; delete the file and run its step again"
            )
    write_json(output, {"images": sorted(before | chosen)})
