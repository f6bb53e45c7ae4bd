"""Step `evaluate`: the scores of a cycle's detector on the test images."""

import json
from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.data.results import load_found
from mgral.evaluation.evaluate import evaluate_detector, evaluate_found
from mgral.models.build import load_detector

NAMES = {"map": "mAP", "ap50": "AP50", "ap75": "AP75", "ap50_11point": "VOC 11 points", "ap50_area": "VOC area"}
"""What is printed of the scores."""


@click.command("evaluate", epilog=HELP)
@options.config
@options.derived
@options.dataset
@options.images
@options.detector
@click.option("--metrics", type=options.FILE, required=True, help="Scores to write (JSON).")
@click.option("--detections", type=options.FILE, required=True, help="COCO results to write.")
@options.gpus
@options.vram_mb
@options.as_json
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    dataset: Path,
    images: Path,
    detector: Path,
    metrics: Path,
    detections: Path,
    gpus: int,
    as_json: bool,
) -> None:
    """Detect on every image of a data set and score: COCO's mAP@[.5:.95], AP50, AP75, by size, by class.

    For VOC data also AP50 by VOC's rules: at 11 points of recall (2007), and by area (2010 and later).
    """
    device, config = choose_device(gpus), load_derived(load_config(config_path), derived)
    data = load_image_set(dataset, images, config.detector)
    if config.detector.command_gives is None:
        network = load_detector(detector, config.detector, len(data.dataset.categories)).to(device)
        scores, results = evaluate_detector(network, data, config.evaluation)
    else:
        found_boxes, limits = load_found(detector, "test"), config.evaluation
        scores, results = evaluate_found(found_boxes, data, limits)
        if beyond := len(found_boxes.above(limits.score_threshold, len(found_boxes.rows)).rows) - len(results):
            click.echo(
                f"warning: {beyond} boxes are left out, beyond the {limits.max_detections} best of their image "
                "(evaluation.max_detections)",
                err=True,
            )
    write_json(detections, results)
    write_json(metrics, scores)
    if as_json:
        click.echo(json.dumps(scores))
    else:
        names = [name for name in NAMES if name in scores]
        shown = [f"{NAMES[name]} {'-' if scores[name] is None else f'{scores[name]:.4f}'}" for name in names]
        click.echo("  ".join([*shown, f"({scores['images']} images)"]))
