"""Step `variant`: what the detector gains from a subset of the lookup table."""

from pathlib import Path

import click

from mgral.artefacts.files import REASON, write_json
from mgral.cli import options
from mgral.compute.device import choose_device
from mgral.compute.gpus import HELP as DEVICE_HELP
from mgral.config import load_config
from mgral.data.derive import load_derived
from mgral.data.image_set import load_image_set
from mgral.engine.workflow import depends_on
from mgral.errors import InputError, SparseError
from mgral.method.lut.plan import load_plan
from mgral.method.lut.pseudo_labels import load_pseudo_labels
from mgral.method.lut.variants import train_variants
from mgral.models.build import load_detector
from mgral.training.checkpoint import HELP, Checkpoint, job_identity


@click.command("variant", epilog=f"{HELP} {DEVICE_HELP}")
@options.config
@options.derived
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
@options.vram_mb
@options.output_option("JSON to write: mAP and AP50 of each variant on the reward images, and its training images.")
def command(
    config_path: Path,
    derived: tuple[Path, ...],
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
    """Train variants, one after the other, from the base weights, and measure their mAP on the reward images.

    All variants of a table have the same random numbers. Larger subsets get more optimiser steps, as detectors do, if
    `lut.labels` is labels and `lut.start` is cold. If the reward images have no object, there is nothing to measure,
    and the reason is written instead.
    """
    device = choose_device(gpus)
    config = load_derived(load_config(config_path), derived).with_settings("table", table)
    try:
        plan = load_plan(subsets)
    except SparseError as reason:
        write_json(output, {REASON: str(reason)})
        return
    data = load_image_set(dataset, images, config.detector)
    if not first <= last < len(plan.subsets):
        raise InputError(
            f"{subsets} has no variants {first} to {last}; give --first and --last from 0 to {len(plan.subsets) - 1}"
        )
    if plan.labels == "pseudo_labels" and pseudo_labels is None:
        raise click.UsageError(f"the variants of {subsets} learn from pseudo-labels; give --pseudo-labels")
    inputs = [dataset, images, subsets, base, *([pseudo_labels] if pseudo_labels else [])]

    def checkpoint_of(variant: int) -> Checkpoint:
        identity = variant, seed, cycle, split
        return Checkpoint.beside(
            output, job_identity(depends_on(config, "variant"), inputs, "variant", *identity, device.type)
        )

    try:
        variants = train_variants(
            config,
            data,
            plan,
            load_detector(base, config.detector, len(data.dataset.categories)).to(device),
            range(first, last + 1),
            seed,
            cycle,
            split,
            pseudo_labels=load_pseudo_labels(pseudo_labels) if pseudo_labels else None,
            checkpoint_of=checkpoint_of,
        )
    except SparseError as reason:
        write_json(output, {REASON: str(reason)})
    else:
        write_json(output, {"variants": [variant._asdict() for variant in variants]})
