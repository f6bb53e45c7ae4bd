"""Step `head`: the head of a strategy, which learns while the detector is trained once more."""

from pathlib import Path

import click
import torch

from mgral.artefacts.files import write_csv
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.engine.workflow import depends_on
from mgral.models.build import load_detector
from mgral.selection.heads import save_head, train_head
from mgral.selection.pool import load_labelled
from mgral.training.checkpoint import HELP, Checkpoint, job_identity


@click.command("head", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.derived
@click.option("--type", "strategy_type", required=True, help="Type of the strategy that uses the head, such as llal.")
@options.dataset
@options.images
@options.labelled
@options.weights
@options.detector
@options.seed
@options.cycle
@options.gpus
@options.vram_mb
@options.output_option("Weights of the head to write (safetensors).")
@click.option("--log-csv", type=options.FILE, required=True, help="Loss of the head in each iteration.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
    strategy_type: str,
    dataset: Path,
    images: Path,
    labelled: Path,
    weights: Path | None,
    detector: Path,
    seed: int,
    cycle: int,
    gpus: int,
    output: Path,
    log_csv: Path,
) -> None:
    """Train the head of a strategy, in one more training of the detector.

    The head does not change the detector. If the newly trained detector differs from the given one, for example on
    another machine, a warning is printed.
    """
    device, config = choose_device(gpus), load_derived(load_config(config_path), derived)
    data, labelled_ids = load_image_set(dataset, images, config.detector), load_labelled(labelled)
    given_weights = load_detector(detector, config.detector, len(data.dataset.categories)).state_dict()
    inputs = [dataset, images, labelled, *([weights] if weights else [])]
    settings = depends_on(config, "head", {"type": strategy_type})
    job = job_identity(settings, inputs, "head", strategy_type, seed, cycle, device.type)
    checkpoint = Checkpoint.beside(output, job)
    head, retrained, history = train_head(
        strategy_type, config, data, labelled_ids, seed, cycle, weights=weights, gpus=gpus, checkpoint=checkpoint
    )
    if not all(torch.equal(values.cpu(), given_weights[name]) for name, values in retrained.state_dict().items()):
        click.echo(
            f"warning: the detector that was trained once more for the head of {strategy_type} differs from "
            f"{detector}, as on another machine or on several GPUs. The head is used with {detector} all the same: "
            "both detectors were trained in the same way",
            err=True,
        )
    write_csv(log_csv, history, list(history[0]))
    save_head(head, output)
    checkpoint.remove()
