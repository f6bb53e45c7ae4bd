"""Step `base`: the weights that every variant of the lookup table starts from."""

from pathlib import Path

import click

from mgral.artefacts.files import write_reason
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.engine.workflow import depends_on
from mgral.errors import SparseError
from mgral.method.lut.plan import load_plan
from mgral.method.lut.variants import train_base
from mgral.models.build import save_detector
from mgral.training.checkpoint import HELP, Checkpoint, job_identity


@click.command("base", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.derived
@options.dataset
@options.images
@options.subsets
@options.weights
@options.seed
@options.cycle
@options.split
@options.table
@options.gpus
@options.vram_mb
@options.output_option("Weights to write (safetensors).")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
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
    """Train a detector on the base images: labelled images that are neither reward images nor in a subset.

    The cycle's own detector cannot be used, because it was trained on the reward images. If variants start from
    random or published weights (`lut.start: cold`), these are written without any training.
    """
    device = choose_device(gpus)
    config = load_derived(load_config(config_path), derived).with_settings("table", table)
    try:
        plan = load_plan(subsets)
    except SparseError as reason:
        write_reason(output, str(reason))
        return
    data = load_image_set(dataset, images, config.detector)
    inputs = [dataset, images, subsets, *([weights] if weights else [])]
    job = job_identity(depends_on(config, "base"), inputs, "base", seed, cycle, split, device.type)
    checkpoint = Checkpoint.beside(output, job)
    detector = train_base(config, data, plan, seed, cycle, split, weights=weights, gpus=gpus, checkpoint=checkpoint)
    save_detector(detector, output)
    checkpoint.remove()
