"""Step `variant`: what the detector gains from a subset of the lookup table."""

from pathlib import Path

import click

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
from mgral.evaluation.coco import of_images, score_detections
from mgral.evaluation.detect import detect_images
from mgral.method.lut.plan import load_plan
from mgral.method.lut.pseudo_labels import load_pseudo_labels, pseudo_truth, with_pseudo_labels
from mgral.models.build import load_detector
from mgral.training.batches import training_images
from mgral.training.checkpoint import HELP, Checkpoint, job_identity
from mgral.training.loop import Unlabelled, train_detector


@click.command("variant", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.dataset
@options.images
@options.subsets
@click.option(
    "--pseudo-labels",
    type=options.FILE,
    help="Labels written by the step `pseudo_labels`.",
)
@click.option("--base", type=options.FILE, required=True, help="Weights written by the step `base`.")
@click.option("--first", type=click.IntRange(min=0), required=True, help="Number of the first subset; 0 is empty.")
@click.option(
    "--last", type=click.IntRange(min=0), required=True, help="Number of the last subset; may be the first."
)
@options.seed
@options.cycle
@options.split
@options.table
@options.gpus
@options.written("JSON to write: mAP and AP50 of each variant on the reward images, and what it learnt from.")
def command(
    config_path: Path,
    dataset: Path,
    images: Path,
    subsets: Path,
    pseudo_labels: Path | None,
    base: Path,
    first: int,
    last: int,
    seed: int,
    cycle: int,
    split: int,
    table: str,
    gpus: int,
    output: Path,
) -> None:
    """Train variants, one after the other, from the base weights and measure their mAP on the reward images.

    All variants of a table share their schedule and their random numbers, so that they differ by the subset alone.
    """
    device = choose_device(gpus)
    config = load_config(config_path).with_settings("table", table)
    data = load_dataset(dataset)
    cached = load_images(images, data, config.detector.image_canvas)
    plan = load_plan(subsets)
    if not first <= last < len(plan.subsets):
        raise InputError(
            f"{subsets} has no variants {first} to {last}; give --first and --last from 0 to {len(plan.subsets) - 1}"
        )
    iterations = config.iterations.variant + (config.iterations.base if plan.start == "cold" else 0)
    truth = read_json(dataset)
    # Images of the pool show their pseudo-labels, or nothing.
    paid_for = {*plan.base, *plan.reward, *(image for one in plan.subsets for image in one)}
    if plan.labels != "labels":
        paid_for = {*plan.base} if plan.labels == "pseudo_labels" else {*plan.base, *plan.reward}
    data = data.without_labels([image for image in data.image_ids.tolist() if image not in paid_for])
    if plan.labels == "pseudo_labels":
        if pseudo_labels is None:
            raise click.UsageError(f"the variants of {subsets} learn from pseudo-labels; give --pseudo-labels")
        labels = load_pseudo_labels(pseudo_labels)
        data, truth = with_pseudo_labels(labels, data), pseudo_truth(labels, truth)
    truth = of_images(truth, plan.reward)
    with_labels = plan.labels != "consistency"
    found = []
    for variant in range(first, last + 1):
        subset = plan.subsets[variant]
        labelled = training_images(data, cached, plan.base + subset if with_labels else plan.base)
        unlabelled = None
        if subset and not with_labels:
            unlabelled = Unlabelled(
                training_images(data, cached, subset, labels=False),
                config.semi_supervised.batch_size,
                config.semi_supervised.weight,
            )
        inputs = [dataset, images, subsets, base, *([pseudo_labels] if pseudo_labels else [])]
        place = variant, seed, cycle, split
        job = job_identity(depends_on(config, "variant"), inputs, "variant", *place, device.type)
        checkpoint = Checkpoint.beside(output, job)
        detector = load_detector(base, config.detector, len(data.categories)).to(device)
        train_detector(
            detector,
            labelled,
            config.training,
            iterations,
            derive_seed(seed, "variant", cycle, split),
            f"variant {variant}",
            unlabelled,
            checkpoint,
        )
        detections = detect_images(detector, data, cached, data.rows(plan.reward), config.evaluation)
        scores = score_detections(truth, detections, plan.reward)
        if scores["map"] is None:
            remedy = (
                "train the detector longer (iterations.detector)" if pseudo_labels else "label more initial images"
            )
            raise StepError(f"{subsets}: no reward image has a box, so mAP is undefined; {remedy}")
        by_class = [one["map"] for one in scores["per_class"]]
        scored = {"map": scores["map"], "ap50": scores["ap50"], "class_map": by_class}
        objects = data.object_counts(subset).sum(axis=0).tolist() if with_labels else None
        found.append({"variant": variant, "images": len(subset), "objects": objects, **scored})
        checkpoint.remove()
    write_json(output, {"variants": found})
