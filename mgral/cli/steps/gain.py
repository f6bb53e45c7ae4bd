"""Step `gain`: what a detector really gains from candidate batches."""

from pathlib import Path

import click
import numpy as np

from mgral.artefacts.files import read_json, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.engine.workflow import depends_on
from mgral.errors import InputError, StepError
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import detect_images
from mgral.method.fidelity.batches import load_candidates
from mgral.models.build import build_detector
from mgral.selection.pool import load_labelled
from mgral.training.batches import training_images
from mgral.training.checkpoint import HELP, Checkpoint, job_identity
from mgral.training.length import detector_iterations
from mgral.training.loop import train_detector


@click.command("gain", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.dataset
@options.images
@options.labelled
@click.option("--candidates", type=options.FILE, required=True, help="Batches written by the step `candidates`.")
@click.option("--test-dataset", type=options.FILE, required=True, help="COCO JSON of the test images.")
@click.option("--test-images", type=options.FILE, required=True, help="Image cache of the test images.")
@options.weights
@click.option("--first", type=click.IntRange(min=0), required=True, help="Number of the first batch; 0 is empty.")
@click.option("--last", type=click.IntRange(min=0), required=True, help="Number of the last batch; may be the first.")
@options.seed
@options.cycle
@options.gpus
@options.written("JSON to write: mAP on the test images, of each batch and repeat.")
def command(
    config_path: Path,
    dataset: Path,
    images: Path,
    labelled: Path,
    candidates: Path,
    test_dataset: Path,
    test_images: Path,
    weights: Path | None,
    first: int,
    last: int,
    seed: int,
    cycle: int,
    gpus: int,
    output: Path,
) -> None:
    """Label a batch, train a detector as `detector` does, and score it on the test images; each batch several times.

    Repeats differ in their initial weights and in all random numbers of the training; the same repeat of two batches
    shares them.
    """
    device = choose_device(gpus)
    config = load_config(config_path)
    data, test = load_dataset(dataset), load_dataset(test_dataset)
    cached = load_images(images, data, config.detector.image_canvas)
    test_cached = load_images(test_images, test, config.detector.image_canvas)
    truth = read_json(test_dataset)
    batches = load_candidates(candidates)
    if not first <= last < len(batches):
        raise InputError(
            f"{candidates} has no batches {first} to {last}; give --first and --last from 0 to {len(batches) - 1}"
        )
    known = load_labelled(labelled).tolist()
    inputs = [dataset, images, labelled, candidates, *([weights] if weights else [])]
    found = []
    for batch in batches[first : last + 1]:
        chosen = training_images(data, cached, sorted({*known, *batch.images}))
        relative_size = len(chosen.rows) / config.initial
        iterations = detector_iterations(config.iterations.detector, config.iterations.growth, relative_size)
        scores = []
        for repeat in range(config.fidelity.repeats):
            where = batch.batch, repeat, seed, cycle, device.type
            checkpoint = Checkpoint.beside(output, job_identity(depends_on(config, "gain"), inputs, "gain", *where))
            start = derive_seed(seed, "gain weights", repeat)
            detector = build_detector(config.detector, len(data.categories), start, weights).to(device)
            train_detector(
                detector,
                chosen,
                config.training,
                iterations,
                derive_seed(seed, "gain", cycle, repeat),
                f"batch {batch.batch}, repeat {repeat}",
                checkpoint=checkpoint,
            )
            detections = detect_images(detector, test, test_cached, np.arange(len(test.image_ids)), config.evaluation)
            scores.append(score_detections(truth, detections, test.image_ids.tolist())["map"])
            checkpoint.remove()
        if None in scores:
            raise StepError(f"{test_dataset}: no test image has a box, so mAP is undefined")
        found.append({"batch": batch.batch, "map": scores})
    write_json(output, {"gains": found})
