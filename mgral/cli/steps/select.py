"""Step `select`: the images to label next."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.gpus import HELP
from mgral.config import load_config, registry
from mgral.data.dataset import load_dataset
from mgral.selection.pool import check_pool, load_labelled, unlabelled
from mgral.selection.query import Query, choose


@click.command("select", epilog=HELP)
@options.config
@options.strategy
@options.dataset
@options.labelled
@options.seed
@options.cycle
@click.option("--images", type=options.FILE, help="Cache of the training images (strategies that run the detector).")
@click.option("--detector", type=options.FILE, help="Detector of the cycle (strategies that run it).")
@click.option("--embeddings", type=options.FILE, help="Embeddings of the images (mgral, core_set).")
@click.option("--agent", type=options.FILE, help="Trained agent (mgral).")
@options.gpus
@options.written("JSON to write: the chosen ids, best first, their scores, images shown to the detector.")
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
    """Choose the images to label next."""
    given = {"images": images, "detector": detector, "embeddings": embeddings, "agent": agent}
    config = load_config(config_path).for_strategy(strategy)
    kind = config.strategies[strategy].type
    missing = [f"--{name}" for name in registry.strategy(kind).files if given[name] is None]
    if missing:
        raise click.UsageError(f"strategy {kind} needs {' and '.join(missing)}")
    training_images = load_dataset(dataset)
    labelled_ids = load_labelled(labelled)
    pool = unlabelled(training_images.image_ids, labelled_ids)
    check_pool(pool, config.budget)
    query = Query(
        training_images.without_labels(pool),
        labelled_ids,
        pool,
        config,
        seed,
        cycle,
        images=images,
        detector=detector,
        embeddings=embeddings,
        agent=agent,
        gpus=gpus,
    )
    choice = choose(kind, query)
    selection = {"strategy": strategy, "images": pool[choice.rows].tolist(), "scores": choice.scores.tolist()}
    write_json(output, {**selection, "forward_passes": choice.forward_passes})
