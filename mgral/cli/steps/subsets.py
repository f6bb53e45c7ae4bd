"""Step `subsets`: the images on which rewards are measured, and the subsets that the variants learn from."""

from pathlib import Path

import click

from mgral.artefacts.files import REASON, write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.errors import SparseError
from mgral.method.lut.subsets import plan_subsets
from mgral.selection.embeddings import load_embeddings
from mgral.selection.pool import load_labelled


@click.command("subsets")
@options.config
@options.dataset
@options.labelled
@options.embeddings
@options.seed
@options.cycle
@options.split
@options.table
@options.output_option("Plan to write (JSON).")
def command(
    config_path: Path,
    dataset: Path,
    labelled: Path,
    embeddings: Path,
    seed: int,
    cycle: int,
    split: int,
    table: str,
    output: Path,
) -> None:
    """Draw a reward split and the subsets of its lookup table; with too few images, write the reason instead."""
    config = load_config(config_path).with_settings("table", table)
    labelled_ids, vectors = load_labelled(labelled), load_embeddings(embeddings)
    try:
        plan = plan_subsets(config, load_dataset(dataset), labelled_ids, vectors, seed, cycle, split)
    except SparseError as reason:
        write_json(output, {REASON: str(reason)})
        return
    write_json(output, plan.to_json())
    click.echo(
        f"{len(plan.reward)} reward images, {len(plan.base)} base images, "
        f"{len(plan.subsets) - 1} subsets of {len(plan.subsets[1])}",
        err=True,
    )
