"""Step `candidates`: the batches whose looked-up reward is compared with the measured gain."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import images_in, load_config
from mgral.data.dataset import load_dataset
from mgral.method.fidelity.batches import draw_candidates
from mgral.selection.embeddings import load_embeddings
from mgral.selection.pool import check_pool, load_labelled, unlabelled
from mgral.selection.spending import in_images, load_unspent


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
    data, known = load_dataset(dataset), load_labelled(labelled)
    pool = unlabelled(data.image_ids, known)
    budget = images_in(in_images(config, data, known, load_unspent(labelled)).budget)
    check_pool(pool, budget)
    vectors = load_embeddings(embeddings)
    batches = draw_candidates(pool, vectors, config.lut.clusters, config.fidelity.batches, budget, seed, cycle)
    write_json(output, {"batches": [one.to_json() for one in batches]})
