"""Step `table`: the lookup table, made of the trained variants."""

from pathlib import Path

import click

from mgral.artefacts.files import write_arrays, write_csv, write_reason
from mgral.cli import options
from mgral.config import load_config
from mgral.errors import SparseError
from mgral.method.lut.plan import load_plan
from mgral.method.lut.table import leave_one_out_columns, load_variants, table_arrays
from mgral.selection.embeddings import load_embeddings


@click.command("table")
@options.config
@options.subsets
@options.embeddings
@options.seed
@options.table
@options.reward
@options.output_option("Table to write.")
@click.option(
    "--leave-one-out",
    type=options.FILE,
    required=True,
    help="CSV file to write: how well the table predicts each variant from the others.",
)
@click.argument("variants", type=options.FILE, nargs=-1, required=True, metavar="VARIANTS.json...")
def command(
    config_path: Path,
    subsets: Path,
    embeddings: Path,
    seed: int,
    table: str,
    reward: str,
    output: Path,
    leave_one_out: Path,
    variants: tuple[Path, ...],
) -> None:
    """Collect the variants 0..K in the lookup table; if there can be none, write the reason instead."""
    config = load_config(config_path).with_settings("table", table).with_settings("reward", reward)
    columns = leave_one_out_columns(config.reward.distance)
    try:
        plan = load_plan(subsets)
        scores = load_variants(variants, plan)
    except SparseError as reason:
        write_csv(leave_one_out, (), columns)
        write_reason(output, str(reason))
        return
    arrays, rows = table_arrays(scores, plan, load_embeddings(embeddings), config.embedding, config.reward, seed)
    write_csv(leave_one_out, rows, columns)
    write_arrays(output, arrays)
