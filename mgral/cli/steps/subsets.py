"""Step `subsets`: the images on which rewards are measured, and the subsets that the variants learn from."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.method.lut.subsets import plan_subsets
from mgral.selection.embeddings import load_embeddings
from mgral.selection.pool import load_labelled, unlabelled


@click.command("subsets")
@options.config
@options.dataset
@options.labelled
@options.embeddings
@options.seed
@options.cycle
@options.split
@options.table
@options.written("Plan to write (JSON).")
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
    """Draw a reward split and the subsets of its lookup table."""
    config = load_config(config_path).with_settings("table", table)
    images, ids = load_dataset(dataset), load_labelled(labelled)
    pool = unlabelled(images.image_ids, ids)
    plan = plan_subsets(
        labelled=ids,
        labels=[images.labels[row] for row in images.rows(ids)],
        pool=pool,
        embeddings=load_embeddings(embeddings),
        embedding=config.embedding,
        lut=config.lut,
        budget=config.budget,
        seed=seed,
        cycle=cycle,
        split=split,
    )
    write_json(output, plan.to_json())
    click.echo(
        f"{len(plan.reward)} reward images, {len(plan.base)} base images, "
        f"{len(plan.subsets) - 1} subsets of {len(plan.subsets[1])}",
        err=True,
    )
