"""Step `select`: the images to label next."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.gpus import HELP
from mgral.config import Config, images_in, load_config, registry
from mgral.data.dataset import load_dataset
from mgral.data.derive import load_derived
from mgral.data.groups import load_groups
from mgral.data.images import load_images
from mgral.data.results import load_found
from mgral.errors import SparseError, number_of
from mgral.selection.embeddings import Embeddings, load_embeddings
from mgral.selection.pool import load_labelled
from mgral.selection.query import NotMade
from mgral.selection.selecting import Selection, select
from mgral.selection.spending import load_unspent

Rows = npt.NDArray[np.int64]

if TYPE_CHECKING:
    from torch import nn

    from mgral.data.dataset import Dataset
    from mgral.method.agent.batch_agent import BatchAgent
    from mgral.method.agent.network import Agent
    from mgral.method.lut.reward import AnyTables
    from mgral.models.interface import DetectorModel


@click.command("select", epilog=HELP)
@options.config
@options.derived
@options.strategy
@options.dataset
@options.labelled
@options.seed
@options.cycle
@click.option("--images", type=options.FILE, help="Cache of the training images (strategies that run the detector).")
@click.option("--detector", type=options.FILE, help="Detector of the cycle (strategies that run it).")
@click.option("--embeddings", type=options.FILE, help="Embeddings (strategies that compare images or count objects).")
@click.option(
    "--table",
    type=options.FILE,
    multiple=True,
    help="Lookup table of a reward split; repeat it for each (mgral, mgral_greedy*).",
)
@click.option("--agent", type=options.FILE, help="Trained agent (mgral, paper).")
@click.option(
    "--head", type=options.FILE, help="Written by the step `head` (llal, meh_hua, head_discrepancy, al_mdn)."
)
@click.option(
    "--groups",
    type=options.FILE,
    help="Written by the step `groups`: of each group of near-copies at most one image is chosen (projects, "
    "mgral, mgral_greedy*, random_no_copies).",
)
@click.option(
    "--controls",
    type=click.IntRange(min=0),
    default=0,
    help="Images to draw at random beyond the budget (projects).",
)
@options.gpus
@options.vram_mb
@options.output_option("JSON to write: the chosen ids, best first, their scores, and the number of forward passes.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    strategy: str,
    dataset: Path,
    labelled: Path,
    seed: int,
    cycle: int,
    images: Path | None,
    detector: Path | None,
    embeddings: Path | None,
    table: tuple[Path, ...],
    agent: Path | None,
    head: Path | None,
    groups: Path | None,
    controls: int,
    gpus: int,
    output: Path,
) -> None:
    """Choose the images to label next, in the order in which to label them.

    With a budget in boxes these are more images than the boxes are likely to pay for, and the output has the number
    of boxes to spend. If the strategy gives all images the same score, or its inputs could not be made, the images
    are drawn at random, and the output has the reason.
    """
    inputs = {"images": images, "detector": detector, "embeddings": embeddings, "table": table or None}
    inputs |= {"agent": agent, "head": head, "groups": groups}
    config, data = load_derived(load_config(config_path), derived), load_dataset(dataset)
    kind, trained = config.strategies[strategy].type, config.detector.command_gives is None
    if missing := [f"--{name}" for name in registry.strategy(kind).files if inputs[name] is None]:
        raise click.UsageError(f"strategy {kind} needs {' and '.join(missing)}")
    labelled_ids = load_labelled(labelled)
    features = load_embeddings(embeddings) if embeddings else None
    if features and registry.strategy(kind).needs_tables:
        features = _count_again(features, data, labelled_ids, seed)
    opened_detector = _open_detector(detector, config, len(data.categories), gpus) if detector and trained else None
    selection = select(
        strategy,
        config,
        data,
        labelled_ids,
        seed,
        cycle,
        images=load_images(images, data, config.detector.image_canvas) if images else None,
        detector=opened_detector,
        found=load_found(detector, "train") if detector and not trained else None,
        embeddings=features,
        tables=_open_tables(table, features, config.for_strategy(strategy)) if table and features else None,
        agent=_open_agent(agent) if agent else None,
        head=_open_head(head, kind, opened_detector) if head and opened_detector else None,
        groups=load_groups(groups).groups if groups else None,
        unspent=load_unspent(labelled),
        controls=controls,
    )
    content = selection.to_json()
    if data.source_ids is not None:
        content["source_ids"] = [data.source_ids[row] for row in data.rows(content["images"])]
    write_json(output, content)
    _warn(selection, config)


def _warn(selection: Selection, config: Config) -> None:
    """Say what a person would not expect of a selection."""
    if selection.boxes is None and len(selection.images) < images_in(config.budget):
        alike = "near-copies of a chosen one (see near_copies)"
        if config.near_copies.pattern is not None:
            alike = "of the video of a chosen one (see near_copies.pattern; in a project, `video_names`)"
        click.echo(
            f"warning: {number_of(len(selection.images), 'image is', 'images are')} chosen, not {config.budget}: "
            f"there are no more that are neither labelled, left out nor {alike}",
            err=True,
        )
    if selection.reason:
        click.echo(f"warning: the images are drawn at random: {selection.reason}", err=True)
    if selection.note:
        click.echo(f"note: {selection.note}", err=True)


# Random selection does without torch, whose import takes seconds.
def _open_detector(path: Path, config: Config, classes: int, gpus: int) -> "DetectorModel":
    from mgral.compute.device import choose_device
    from mgral.models.build import load_detector

    return load_detector(path, config.detector, classes).to(choose_device(gpus))


def _open_head(path: Path, kind: str, detector: "DetectorModel") -> "nn.Module":
    from mgral.selection.heads import load_head

    return load_head(path, kind, detector)


def _count_again(embeddings: Embeddings, dataset: "Dataset", labelled: Rows, seed: int) -> Embeddings:
    """Count by the labels of this cycle, as the step `agent` does; scikit-learn is slow to import too."""
    from mgral.selection.object_counts import count_again

    return count_again(embeddings, dataset, labelled, seed)


def _open_tables(paths: tuple[Path, ...], embeddings: Embeddings, config: Config) -> "AnyTables | NotMade":
    """Read the tables; a regression has a prior to choose by where there is too little data for them."""
    from mgral.method.lut.learned import LearnedTables
    from mgral.method.lut.reward import load_tables

    try:
        return load_tables(paths, embeddings, config)
    except SparseError as error:
        if config.reward.estimator != "regression" or not len(embeddings.counted):
            return NotMade(str(error))
        return LearnedTables.of([], embeddings, str(error))


def _open_agent(path: Path) -> "Agent | BatchAgent | NotMade":
    from mgral.method.agent.network import load_agent

    try:
        return load_agent(path)
    except SparseError as error:
        return NotMade(str(error))
