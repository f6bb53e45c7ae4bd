"""Step `base`: the weights that every variant of the lookup table starts from."""

from pathlib import Path

import click

from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.engine.workflow import depends_on
from mgral.method.lut.plan import load_plan
from mgral.models.build import build_detector, save_detector
from mgral.training.batches import training_images
from mgral.training.checkpoint import HELP, Checkpoint, job_identity
from mgral.training.loop import train_detector


@click.command("base", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.dataset
@options.images
@options.subsets
@options.weights
@options.seed
@options.cycle
@options.split
@options.table
@options.gpus
@options.written("Weights to write (safetensors).")
def command(
    config_path: Path,
    dataset: Path,
    images: Path,
    subsets: Path,
    weights: Path | None,
    seed: int,
    cycle: int,
    split: int,
    table: str,
    gpus: int,
    output: Path,
) -> None:
    """Train a detector on the base images: labelled, and neither rewarded on nor in a labelled subset.

    The cycle's own detector will not do: it has seen the images that rewards are measured on. Where the variants of
    the plan start anew, the weights are written as they are before any training.
    """
    device = choose_device(gpus)
    config = load_config(config_path).with_settings("table", table)
    data = load_dataset(dataset)
    cached = load_images(images, data, config.detector.image_canvas)
    plan = load_plan(subsets)
    chosen = training_images(data, cached, plan.base)
    detector = build_detector(config.detector, len(data.categories), derive_seed(seed, "weights"), weights).to(device)
    inputs = [dataset, images, subsets, *([weights] if weights else [])]
    job = job_identity(depends_on(config, "base"), inputs, "base", seed, cycle, split, device.type)
    checkpoint = Checkpoint.beside(output, job)
    train_detector(
        detector,
        chosen,
        config.training,
        0 if plan.start == "cold" else config.iterations.base,
        derive_seed(seed, "base", cycle, split),
        "base",
        checkpoint=checkpoint,
    )
    save_detector(detector, output)
    checkpoint.remove()
