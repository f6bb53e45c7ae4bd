"""Step `detector`: the detector of a cycle, trained on all labelled images."""

from pathlib import Path

import click

from mgral.artefacts.files import write_csv
from mgral.artefacts.seeds import derive_seed
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.engine.workflow import depends_on
from mgral.models.build import build_detector, save_detector
from mgral.selection.pool import load_labelled
from mgral.training.batches import training_images
from mgral.training.checkpoint import HELP, Checkpoint, job_identity
from mgral.training.devices import train_on_gpus
from mgral.training.length import detector_iterations


@click.command("detector", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.dataset
@options.images
@options.labelled
@options.weights
@options.seed
@options.cycle
@click.option(
    "--gpus",
    type=click.IntRange(min=0),
    default=0,
    help="0 for the CPU, or on how many GPUs of this machine to train: a process each, with a share of each batch.",
)
@options.written("Weights to write (safetensors).")
@click.option("--log-csv", type=options.FILE, required=True, help="Loss and learning rate of each iteration.")
def command(
    config_path: Path,
    dataset: Path,
    images: Path,
    labelled: Path,
    weights: Path | None,
    seed: int,
    cycle: int,
    gpus: int,
    output: Path,
    log_csv: Path,
) -> None:
    """Train a detector from its initial weights, the longer the more images are labelled, and write its weights."""
    device = choose_device(gpus)
    config = load_config(config_path)
    data = load_dataset(dataset)
    cached = load_images(images, data, config.detector.image_canvas)
    chosen = training_images(data, cached, load_labelled(labelled))
    # The same initial weights in each cycle and strategy of a seed: they differ by their images alone.
    detector = build_detector(config.detector, len(data.categories), derive_seed(seed, "weights"), weights)
    relative_size = len(chosen.rows) / config.initial
    iterations = detector_iterations(config.iterations.detector, config.iterations.growth, relative_size)
    inputs = [dataset, images, labelled, *([weights] if weights else [])]
    where = (device.type, max(1, gpus))
    job = job_identity(depends_on(config, "detector"), inputs, "detector", seed, cycle, *where)
    checkpoint = Checkpoint.beside(output, job)
    history = train_on_gpus(
        gpus,
        detector,
        chosen,
        config.training,
        iterations,
        derive_seed(seed, "detector", cycle),
        "detector",
        checkpoint,
    )
    write_csv(log_csv, history, list(history[0]))
    save_detector(detector, output)
    checkpoint.remove()
