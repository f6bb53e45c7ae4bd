"""Step `candidates`: the batches whose looked-up reward is compared with the measured gain."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.method.fidelity.batches import draw_candidates
from mgral.selection.embeddings import load_embeddings
from mgral.selection.pool import check_pool, load_labelled, unlabelled


@click.command("candidates")
@options.config
@options.dataset
@options.labelled
@options.embeddings
@options.seed
@options.cycle
@options.written("Batches to write (JSON); batch 0 is empty.")
def command(
    config_path: Path, dataset: Path, labelled: Path, embeddings: Path, seed: int, cycle: int, output: Path
) -> None:
    """Draw batches of the pool, from batches of similar images to mixed batches."""
    config = load_config(config_path)
    pool = unlabelled(load_dataset(dataset).image_ids, load_labelled(labelled))
    check_pool(pool, config.budget)
    vectors = load_embeddings(embeddings)
    batches = draw_candidates(pool, vectors, config.lut.clusters, config.fidelity.batches, config.budget, seed, cycle)
    write_json(output, {"batches": [one.to_json() for one in batches]})
