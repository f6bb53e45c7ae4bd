"""Step `select`: the images to label next."""

from pathlib import Path

import click

from mgral.artefacts import write_json
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.driver import HELP
from mgral.pool import check_pool, load_labelled, unlabelled
from mgral.steps import options
from mgral.strategies import STRATEGIES, Query, highest, score_pool


@click.command("select", epilog=HELP)
@options.config
@click.option("--strategy", type=click.Choice(tuple(STRATEGIES)), required=True, help="How the pool is scored.")
@options.dataset
@options.labelled
@options.seed
@options.cycle
@click.option("--images", type=options.FILE, help="Cache of the training images (entropy).")
@click.option("--detector", type=options.FILE, help="Detector of the cycle (entropy).")
@click.option("--embeddings", type=options.FILE, help="Embeddings of the images (mgral).")
@click.option("--agent", type=options.FILE, help="Trained agent (mgral).")
@options.gpus
@options.written("JSON to write: the chosen ids, best first, and their scores.")
def command(
    config_path: Path,
    strategy: str,
    dataset: Path,
    labelled: Path,
    seed: int,
    cycle: int,
    images: Path | None,
    detector: Path | None,
    embeddings: Path | None,
    agent: Path | None,
    gpus: int,
    output: Path,
) -> None:
    """Choose the images to label next: the highest scores, ties by the lower id."""
    given = {"images": images, "detector": detector, "embeddings": embeddings, "agent": agent}
    missing = [f"--{name}" for name in STRATEGIES[strategy].needs if given[name] is None]
    if missing:
        raise click.UsageError(f"strategy {strategy} needs {' and '.join(missing)}")
    config = load_config(config_path)
    training_images = load_dataset(dataset)
    pool = unlabelled(training_images.image_ids, load_labelled(labelled))
    check_pool(pool, config.budget)
    query = Query(training_images, pool, seed, cycle, config.detector, **given, gpus=gpus)
    scores = score_pool(strategy, query)
    rows = highest(scores, config.budget)
    write_json(output, {"strategy": strategy, "images": pool[rows].tolist(), "scores": scores[rows].tolist()})
