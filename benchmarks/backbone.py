"""Benchmark `backbone`: a detector on a backbone of timm's on one core, by memory layout and number type."""

import itertools
from collections.abc import Callable
from time import process_time
from typing import Literal, NamedTuple

import click
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.as_built import use_as_built
from benchmarks.machine import Measurements, machine, show
from mgral.compute.device import keep_freed_memory
from mgral.models.build import random_detector
from mgral.models.detectors.timm import SSDConfig
from mgral.models.interface import Targets
from mgral.models.timm_detectors import TimmSSD

CLASSES, BOXES = 7, 4
OPERATORS = 8
"""Of which the share of the time is shown."""
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


class _Way(NamedTuple):
    layout: str | None
    """Of the network as timm builds it; None is this project's way."""
    precision: str
    batch_norm: Literal["running", "frozen"] = "running"
    frozen_stages: int = 0

    def __str__(self) -> str:
        name = f"timm, {self.layout}" if self.layout else "mgral"
        norm = ", batch normalisation frozen" if self.batch_norm == "frozen" else ""
        return f"{name}, {self.precision}{norm}"


WAYS = (
    *(_Way(layout, precision) for layout, precision in itertools.product((*LAYOUTS, None), PRECISIONS)),
    _Way(None, "bfloat16", "frozen"),
)
"""The first is what the others are compared with."""
STAGES = 4


@click.command("backbone")
@click.option("--side", type=click.IntRange(min=32), default=192, help="Width and height of the images, in pixels.")
@click.option("--batch", type=click.IntRange(min=1), default=16, help="Images in a step.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, help="Times that each way is measured, in turn.")
@click.option(
    "--returned", is_flag=True, help="Let the C library return freed memory to the kernel, as it does by itself."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, of images a second alone.")
def command(side: int, batch: int, rounds: int, returned: bool, as_json: bool) -> None:
    """Print tables of images a second and core, by the least processor time of several rounds.

    A step of training is loss and gradients, without augmentation and optimiser. The ways take turns, as the speed of
    a machine changes with what else it does; compare ratios alone. The second table is of trainings whose first
    stages are frozen; were their features kept, a step would save their forward pass. Below are the operators that
    take the time.
    """
    torch.set_num_threads(1)
    if not returned:
        keep_freed_memory()
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    steps = {way: _steps(way, side, images) for way in WAYS}
    seconds = dict.fromkeys(itertools.product(WAYS, range(2)), float("inf"))
    for _, way, kind in itertools.product(range(rounds), WAYS, range(2)):
        seconds[way, kind] = min(seconds[way, kind], _seconds(steps[way][kind]))
    rates = {key: batch / least for key, least in seconds.items()}
    if as_json:
        kinds = ("training", "inference")
        found: Measurements = {f"{way}, {kinds[kind]}": rate for (way, kind), rate in rates.items()}
        show(found | machine(), as_json)
        return
    click.echo("| | Training | | Inference | |\n|---|---|---|---|---|")
    for way in WAYS:
        parts = [f"{rates[way, kind]:.1f} | {rates[way, kind] / rates[WAYS[0], kind]:.2f}" for kind in range(2)]
        click.echo(f"| {way} | {' | '.join(parts)} |")
    click.echo("\n| Frozen stages | Training | Features kept |\n|---|---|---|")
    for stages in range(STAGES + 1):
        click.echo(f"| {stages} | {_frozen(stages, side, images, rounds)} |")
    for way in (_Way(None, "float32"), _Way(None, "bfloat16")):
        click.echo(f"\nTraining of {way}: {_shares(steps[way][0])}")


def _seconds(step: Callable[[], None]) -> float:
    started = process_time()
    step()
    return process_time() - started


def _frozen(stages: int, side: int, images: Tensor, rounds: int) -> str:
    """Return images a second of a training in bfloat16, as it is and less the forward pass of the frozen stages."""
    way = _Way(None, "bfloat16", frozen_stages=stages)
    train, detector = _steps(way, side, images)[0], _detector(way, side)

    @torch.no_grad()
    def forward() -> None:
        values = images.float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            for stage in detector.pretrained.stages[:stages]:
                values = stage(values)

    whole = min(_seconds(train) for _ in range(rounds + 1))
    spared = min(_seconds(forward) for _ in range(rounds + 1)) if stages else 0.0
    return f"{len(images) / whole:.1f} | {len(images) / (whole - spared):.1f}"


def _shares(step: Callable[[], None]) -> str:
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        step()
    parts = sorted(measured.key_averages(), key=lambda part: -part.self_cpu_time_total)
    total = sum(part.self_cpu_time_total for part in parts)
    return ", ".join(f"{part.key} {100 * part.self_cpu_time_total / total:.0f} %" for part in parts[:OPERATORS])


def _steps(way: _Way, side: int, images: Tensor) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a step of training and one of inference."""
    detector, kind = _detector(way, side), PRECISIONS[way.precision]
    corner = torch.rand(len(images), BOXES, 2) * side / 2
    boxes = torch.cat([corner, corner + side / 4], dim=2)
    targets = Targets(boxes, torch.randint(0, CLASSES, (len(images), BOXES)))

    def train() -> None:
        detector.train()
        with torch.autocast("cpu", kind, enabled=kind is not None):
            loss = detector.losses(images, targets)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        detector.zero_grad()

    @torch.no_grad()
    def infer() -> None:
        detector.eval()
        with torch.autocast("cpu", kind, enabled=kind is not None):
            detector.predictions(images)

    return train, infer


def _detector(way: _Way, side: int) -> TimmSSD:
    config = SSDConfig(
        name="ssd",
        weights=None,
        width=side,
        height=side,
        anchor_scales=(0.08, 0.15, 0.28, 0.5, 0.8),
        aspect_ratios=(2.0,),
        batch_norm=way.batch_norm,
        frozen_stages=way.frozen_stages,
    )
    detector = random_detector(config, CLASSES, 0)
    assert isinstance(detector, TimmSSD)
    if way.layout is not None:
        use_as_built(detector, config.backbone, LAYOUTS[way.layout])
    return detector
