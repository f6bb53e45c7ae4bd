"""Step `pseudo_labels`: the labels that the cycle's detector gives the pool."""

from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.images import load_images
from mgral.evaluation.detect import detect_images
from mgral.method.lut.pseudo_labels import PseudoLabels, take_likeliest
from mgral.models.build import load_detector
from mgral.selection.pool import load_labelled, unlabelled

LOWEST_SCORE = 0.01
"""Below which nothing is taken for an object, however weak the detector."""
IMAGES_AT_A_TIME = 4096
"""Whose detections are held beside the likeliest so far: all of a large pool would take gigabytes."""


@click.command("pseudo_labels", epilog=HELP)
@options.config
@options.dataset
@options.images
@options.labelled
@options.detector
@options.gpus
@options.written("JSON to write: the objects that the detector sees in the pool, as COCO results.")
def command(
    config_path: Path, dataset: Path, images: Path, labelled: Path, detector: Path, gpus: int, output: Path
) -> None:
    """Label the pool by the cycle's detector, for variants that learn from its labels (lut.labels: pseudo_labels).

    An image has as many objects of each class, on average, as the labelled ones have: those of the highest scores.
    """
    device = choose_device(gpus)
    config = load_config(config_path)
    data = load_dataset(dataset)
    known = load_labelled(labelled)
    pool = unlabelled(data.image_ids, known)
    data = data.without_labels(pool)
    network = load_detector(detector, config.detector, len(data.categories)).to(device)
    cached = load_images(images, data, config.detector.image_canvas)
    evaluation = config.evaluation.model_copy(update={"score_threshold": LOWEST_SCORE})
    objects = expected_objects(data, known, len(pool))
    kept: list[dict[str, Any]] = []
    for start in range(0, len(pool), IMAGES_AT_A_TIME):
        rows = data.rows(pool[start : start + IMAGES_AT_A_TIME])
        kept = take_likeliest(kept + detect_images(network, data, cached, rows, evaluation), objects)
    write_json(output, PseudoLabels(tuple(pool.tolist()), tuple(kept)).to_json())
    click.echo(f"{len(kept)} objects, of {sum(objects.values())} expected, in {len(pool)} images", err=True)


def expected_objects(data: Dataset, labelled: npt.NDArray[np.int64], images: int) -> dict[int, int]:
    """Return how many objects of each category id so many images have, going by the labelled ones."""
    known = np.concatenate([data.labels[row] for row in data.rows(labelled)])
    counts = np.bincount(known, minlength=len(data.categories)) * (images / len(labelled))
    return {category.id: round(count) for category, count in zip(data.categories, counts.tolist(), strict=True)}
