"""Step `lookup`: the reward of the candidate batches in tables, by every embedding, distance and estimator.

The rewards that need no table, of predicted objects, are written too; they are the same beside every table.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from mgral.artefacts.files import write_csv
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.errors import SparseError
from mgral.method.fidelity.batches import load_candidates
from mgral.method.fidelity.lookups import LookupKind, Split, expect_without_table, lookup_everywhere
from mgral.method.lut.plan import load_plan
from mgral.method.lut.table import load_variants
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again
from mgral.selection.pool import load_labelled

COLUMNS = (*LookupKind._fields, "splits", "batch", "looked_up", "by_prior")
"""`splits` is how many tables are looked up together, those of the first reward splits; 0 without a table. `by_prior`
is whether they did not pass their test, so that the prior of the regression is written."""


@click.command("lookup")
@options.config
@options.dataset
@options.labelled
@click.option("--candidates", type=options.FILE, required=True, help="Batches written by the step `candidates`.")
@click.option(
    "--subsets",
    type=options.FILE,
    required=True,
    multiple=True,
    help="Plan of a reward split, written by the step `subsets` beside the variants; repeat it for each.",
)
@click.option("--cycle-embeddings", type=options.FILE, required=True, help="Embeddings by the cycle's detector.")
@click.option("--initial-embeddings", type=options.FILE, required=True, help="Embeddings by the initial detector.")
@options.seed
@options.table
@options.output_option("CSV to write: a row for each batch, kind of lookup and number of splits.")
@click.argument("variants", type=options.FILE, nargs=-1, required=True, metavar="VARIANTS.json...")
def command(
    config_path: Path,
    dataset: Path,
    labelled: Path,
    candidates: Path,
    subsets: tuple[Path, ...],
    cycle_embeddings: Path,
    initial_embeddings: Path,
    seed: int,
    table: str,
    output: Path,
    variants: tuple[Path, ...],
) -> None:
    """Predict the gain of candidate batches with the tables of one kind: of the first split and of all."""
    config = load_config(config_path).with_settings("table", table)
    data, labelled_ids = load_dataset(dataset), load_labelled(labelled)
    # As the steps `agent` and `select` count, of whose rewards this is to tell.
    initial = count_again(load_embeddings(initial_embeddings), data, labelled_ids, seed)
    embeddings = {"cycle": load_embeddings(cycle_embeddings), "initial": initial}
    batches = load_candidates(candidates)
    try:
        splits = _load_splits(subsets, variants)
        by_splits = lookup_everywhere(batches, splits, embeddings, config.embedding, config.reward, seed)
    except SparseError as reason:
        click.echo(f"warning: tables {config.lut.labels}, {config.lut.start} are left out: {reason}", err=True)
        by_splits = {}
    lookups = [
        (kind, count, values, by_prior)
        for kind, looked_up in by_splits.items()
        for count, (values, by_prior) in enumerate(zip(looked_up.values, looked_up.by_prior, strict=True), start=1)
    ]
    expected = expect_without_table(batches, data.object_counts(labelled_ids), embeddings)
    lookups += [(kind, 0, values, False) for kind, values in expected.items()]
    lines = [
        {**kind._asdict(), "splits": count, "batch": batch, "looked_up": value, "by_prior": by_prior}
        for kind, count, values, by_prior in lookups
        for batch, value in enumerate(values.tolist(), start=1)
    ]
    write_csv(output, lines, COLUMNS)


def _load_splits(subsets: Sequence[Path], variants: Sequence[Path]) -> list[Split]:
    """Read each plan with the variants that lie beside it."""
    plans = {path.parent: load_plan(path) for path in subsets}
    if without_plan := [str(path) for path in variants if path.parent not in plans]:
        raise click.UsageError(f"there is no --subsets beside {', '.join(without_plan)}; give the plan of each split")
    return [
        Split(plan, load_variants([path for path in variants if path.parent == folder], plan))
        for folder, plan in plans.items()
    ]
