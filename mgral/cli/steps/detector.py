"""Step `detector`: the detector of a cycle, trained on all labelled images."""

from pathlib import Path

import click

from mgral.artefacts.files import write_csv
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.engine.workflow import depends_on
from mgral.models.build import save_detector
from mgral.selection.pool import load_labelled
from mgral.training.checkpoint import HELP, Checkpoint, job_identity
from mgral.training.detector import train_cycle_detector


@click.command("detector", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.derived
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
    help="0 for the CPU, or the number of GPUs to train on: each has a process and a part of each batch.",
)
@options.vram_mb
@options.output_option("Weights to write (safetensors).")
@click.option("--log-csv", type=options.FILE, required=True, help="Loss and learning rate of each iteration.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
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
    """Train a detector from its initial weights, longer if more images are labelled, and write its weights."""
    device, config = choose_device(gpus), load_derived(load_config(config_path), derived)
    data, labelled_ids = load_image_set(dataset, images, config.detector), load_labelled(labelled)
    inputs = [dataset, images, labelled, *([weights] if weights else [])]
    hardware = (device.type, max(1, gpus))
    job = job_identity(depends_on(config, "detector"), inputs, "detector", seed, cycle, *hardware)
    checkpoint = Checkpoint.beside(output, job)
    trained, history = train_cycle_detector(
        config, data, labelled_ids, seed, cycle, weights=weights, gpus=gpus, checkpoint=checkpoint
    )
    write_csv(log_csv, history, list(history[0]))
    save_detector(trained, output)
    checkpoint.remove()
