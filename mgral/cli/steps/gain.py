"""Step `gain`: what a detector really gains from candidate batches."""

from pathlib import Path

import click

from mgral.artefacts.files import write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.engine.workflow import depends_on
from mgral.errors import InputError
from mgral.method.fidelity.batches import load_candidates
from mgral.method.fidelity.gains import measure_gains
from mgral.selection.pool import load_labelled
from mgral.training.checkpoint import HELP, Checkpoint, job_identity


@click.command("gain", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.derived
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
@options.vram_mb
@options.output_option("JSON to write: mAP on the test images, of each batch and repeat.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
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
    device, config = choose_device(gpus), load_derived(load_config(config_path), derived)
    data = load_image_set(dataset, images, config.detector)
    test = load_image_set(test_dataset, test_images, config.detector)
    batches, labelled_ids = load_candidates(candidates), load_labelled(labelled)
    if not first <= last < len(batches):
        raise InputError(
            f"{candidates} has no batches {first} to {last}; give --first and --last from 0 to {len(batches) - 1}"
        )
    inputs = [dataset, images, labelled, candidates, *([weights] if weights else [])]

    def checkpoint_of(batch: int, repeat: int) -> Checkpoint:
        identity = batch, repeat, seed, cycle, device.type
        return Checkpoint.beside(output, job_identity(depends_on(config, "gain"), inputs, "gain", *identity))

    gains = measure_gains(
        config,
        data,
        test,
        labelled_ids,
        batches[first : last + 1],
        seed,
        cycle,
        weights=weights,
        gpus=gpus,
        checkpoint_of=checkpoint_of,
    )
    write_json(output, {"gains": [gain._asdict() for gain in gains]})
