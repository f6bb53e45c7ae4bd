"""Step `lookup`: the reward of the candidate batches in a table, by every embedding, distance and estimator.

The two rewards that need no table, of predicted objects, are written too; they are the same beside every table.
"""

from pathlib import Path

import click

from mgral.artefacts.files import write_csv
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.method.fidelity.batches import load_candidates
from mgral.method.fidelity.lookups import Kind, expect_without_table, lookup_everywhere
from mgral.method.lut.plan import load_plan
from mgral.method.lut.table import load_variants
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again
from mgral.selection.pool import load_labelled

COLUMNS = (*Kind._fields, "batch", "looked_up")


@click.command("lookup")
@options.config
@options.dataset
@options.labelled
@click.option("--candidates", type=options.FILE, required=True, help="Batches written by the step `candidates`.")
@options.subsets
@click.option("--cycle-embeddings", type=options.FILE, required=True, help="Embeddings by the cycle's detector.")
@click.option("--initial-embeddings", type=options.FILE, required=True, help="Embeddings by the initial detector.")
@options.seed
@options.table
@options.written("CSV to write: a row for each batch and kind of lookup.")
@click.argument("variants", type=options.FILE, nargs=-1, required=True, metavar="VARIANTS.json...")
def command(
    config_path: Path,
    dataset: Path,
    labelled: Path,
    candidates: Path,
    subsets: Path,
    cycle_embeddings: Path,
    initial_embeddings: Path,
    seed: int,
    table: str,
    output: Path,
    variants: tuple[Path, ...],
) -> None:
    """Predict the gain of the candidate batches with the lookup tables."""
    config = load_config(config_path).with_settings("table", table)
    plan = load_plan(subsets)
    data, known = load_dataset(dataset), load_labelled(labelled)
    # As the steps `agent` and `select` count, of whose rewards this is to tell.
    initial = count_again(load_embeddings(initial_embeddings), data, known, seed)
    embeddings = {"cycle": load_embeddings(cycle_embeddings), "initial": initial}
    batches = load_candidates(candidates)
    found = lookup_everywhere(
        batches, plan, load_variants(variants, plan), embeddings, config.embedding, config.reward, seed
    )
    found |= expect_without_table(batches, data.object_counts(known).sum(axis=0), embeddings)
    rows = [
        {**kind._asdict(), "batch": batch, "looked_up": value}
        for kind, values in found.items()
        for batch, value in enumerate(values.tolist(), start=1)
    ]
    write_csv(output, rows, COLUMNS)
