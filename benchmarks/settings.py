"""Benchmark `settings`: a detector trained by several settings, scored on training images that are put aside."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import click
import numpy as np
import yaml

from benchmarks.machine import machine
from mgral.artefacts.files import read_json, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, resolve_config
from mgral.config.reading import read_values
from mgral.data.derive import derive_settings
from mgral.data.image_set import ImageSet
from mgral.data.read import read_data
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import detect_images
from mgral.models.build import random_detector
from mgral.models.interface import DetectorModel
from mgral.models.weights import fitting_weights, obtain_weights
from mgral.report.results_page import markdown_table
from mgral.training.batches import training_images
from mgral.training.loop import train_detector

ASIDE = 4
"""One in so many training images is put aside: never learnt from, and what scores are measured on."""
KEYS = ("ap50", "map", "seconds")


@click.command("settings")
@click.option("--configfile", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=True)
@click.option(
    "--images", type=click.IntRange(min=1), help="Training images to learn from; all that are left by default."
)
@click.option("--seeds", default="0", help="Repetitions, separated by commas.")
@click.option("--try", "tried", multiple=True, help='Settings in YAML, such as "training: {backbone_rate: 0.1}".')
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), required=True, help="For what is done.")
def command(configfile: Path, images: int | None, seeds: str, tried: Sequence[str], folder: Path) -> None:
    """Train by the settings of a configuration, and by others, and print a table of their scores.

    Test images are not read. What is done lies in a folder: the same command goes on where it was stopped.
    """
    values = read_values(configfile)
    numbers = [int(seed) for seed in seeds.split(",")]
    lines = []
    for settings in ("{}", *tried):
        config = resolve_config(_merged(values, yaml.safe_load(settings)))
        found = [_result(config, images, seed, folder) for seed in numbers]
        lines.append((settings, *(_spread([one[key] for one in found]) for key in KEYS), found[0]["iterations"]))
        click.echo(f"{lines[-1]}", err=True)
    columns = ("settings", "AP50", "mAP", "core seconds", "iterations")
    click.echo(markdown_table(columns, lines))


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {name for name in changes if isinstance(values.get(name), dict) and isinstance(changes[name], dict)}
    return {**values, **changes} | {name: _merged(values[name], changes[name]) for name in both}


def _result(config: Config, images: int | None, seed: int, folder: Path) -> dict[str, Any]:
    """Return what is known of a training, which is done where nothing is."""
    asked = {"config": config.model_dump(mode="json"), "images": images, "seed": seed}
    place = folder / f"{derive_seed(0, json.dumps(asked, sort_keys=True)):x}.json"
    if not place.exists():
        write_json(place, asked | _train(config, images, seed, folder) | machine())
    result: dict[str, Any] = read_json(place)
    return result


def _train(given: Config, images: int | None, seed: int, folder: Path) -> dict[str, Any]:
    with TemporaryDirectory() as cache:
        data, test = read_data(given, cache)
        order = np.random.default_rng(derive_seed(seed, "put aside")).permutation(data.dataset.image_ids)
        put_aside = len(order) // ASIDE
        aside, learnt = (np.sort(part).tolist() for part in (order[:put_aside], order[put_aside:][:images]))
        config = derive_settings(given, data.dataset, test.dataset, learnt)
        detector, iterations = _start(config, data, seed, folder), config.iterations.detector
        assert iterations is not None
        started = process_time()
        labelled = training_images(data.dataset, data.images, learnt)
        train_detector(detector, labelled, config.training, iterations, seed, "settings")
        seconds = process_time() - started
        found = detect_images(detector, data.dataset, data.images, data.dataset.rows(aside), config.evaluation)
    scores = score_detections(data.truth(), found, aside)
    return {
        "ap50": 100 * scores["ap50"],
        "map": 100 * scores["map"],
        "seconds": seconds,
        "iterations": iterations,
        "size": config.detector.image_canvas.input_size,
        "learnt": len(learnt),
        "aside": len(aside),
    }


def _start(config: Config, data: ImageSet, seed: int, folder: Path) -> DetectorModel:
    detector = random_detector(config.detector, len(data.dataset.categories), derive_seed(seed, "weights"))
    if config.detector.weights is not None:
        state = obtain_weights(config.detector, None, folder)
        detector.load_state_dict(detector.state_dict() | fitting_weights(detector, state, config.detector.weights)[0])
    return detector


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
