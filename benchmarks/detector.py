"""Benchmark `detector`: SSD300 and RetinaNet at full size, their training beside torchvision's reference loop."""

import itertools
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from benchmarks.machine import Measurements, machine, peak_memory, show
from mgral.compute.device import choose_device
from mgral.config import AugmentationConfig, EvaluationConfig, TrainingConfig
from mgral.data.images import Images
from mgral.evaluation.detect import image_chunks
from mgral.models.build import random_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.ssd300 import SSD300Config
from mgral.models.interface import Targets
from mgral.models.retinanet import RetinaNet
from mgral.models.ssd300 import SSD300
from mgral.models.suppression import Limits
from mgral.training.batches import TrainingImages
from mgral.training.checkpoint import Checkpoint
from mgral.training.loop import train_detector

CONFIGS: dict[str, SSD300Config | RetinaNetConfig] = {
    "ssd300_vgg16": SSD300Config(name="ssd300_vgg16"),
    "retinanet_resnet50_fpn": RetinaNetConfig(name="retinanet_resnet50_fpn"),
}
CLASSES = {"ssd300_vgg16": 20, "retinanet_resnet50_fpn": 80}
BOXES = 8
"""In an image."""
WARM_UP = 3
"""Iterations at the start that are not timed; at most as many as are: the first one makes room in memory."""
LEARNING_RATE = 1e-4
"""Low, as the weights are random."""


@click.command("detector")
@click.option("--detector", "name", type=click.Choice(tuple(CONFIGS)), required=True)
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Images in an iteration.")
@click.option("--iterations", type=click.IntRange(min=1), default=1, help="Iterations of each way that are timed.")
@click.option("--gpus", type=click.IntRange(0, 1), default=0, help="1 for the first GPU.")
@click.option("--half", is_flag=True, help="Also in bfloat16 and float16.")
@click.option("--compiled", is_flag=True, help="Also by torch.compile, in bfloat16 with --half.")
@click.option("--at-once", type=click.IntRange(min=1), default=1, help="Also so many trainings at the same time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    name: str, batch: int, iterations: int, gpus: int, half: bool, compiled: bool, at_once: int, as_json: bool
) -> None:
    """Time iterations on random images that fill the canvas, from the image cache to the optimiser's step.

    `torchvision` is its own loop (references/detection/engine.py): lists of images and targets at the network's
    size, on the device already, the model's transform and loss, SGD. Ours reads the cache and augments as the paper's
    tracks do. Seconds are the median of an iteration; memory is what the process took so far, or torch on a GPU.
    `inference` is what an evaluation does with a batch, up to its detections, with random weights. `at_once` is what
    trainings in processes of their own do together, as variants that share a card, images of all of them added up.
    """
    device = choose_device(gpus)
    ways: dict[str, dict[str, Any]] = {"mgral": {}}
    if half:
        ways |= {f"mgral_{kind}": {"precision": kind} for kind in ("bfloat16", "float16")}
    if compiled:
        ways["mgral_compiled"] = {"compile": True, "precision": "bfloat16" if half else "float32"}
    where = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    measured: Measurements = {"detector": name, "batch": batch, "iterations": iterations, "device": where}
    for way, settings in ways.items():
        measured |= _measure(way, batch, device, partial(_train, name, batch, iterations, device, settings))
    if at_once > 1:
        train = partial(_train, name, batch, iterations, device, {})
        measured["at_once_images_per_second"] = _images_per_second_at_once(train, at_once, batch, gpus)
    for way, kind in {"torchvision": None, **({"torchvision_bfloat16": torch.bfloat16} if half else {})}.items():
        measured |= _measure(way, batch, device, partial(_train_plainly, name, batch, iterations, device, kind))
    measured |= _measure("inference", batch, device, partial(_detect, name, batch, iterations, device))
    show(measured | machine(), as_json)


def _measure(way: str, batch: int, device: torch.device, train: Callable[[], list[float]]) -> Measurements:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds = median(train())
    memory = torch.cuda.max_memory_allocated() / 1e6 if device.type == "cuda" else peak_memory()
    return {
        f"{way}_seconds": seconds,
        f"{way}_images_per_second": batch / seconds,
        f"{way}_peak_memory_mb": memory,
    }


def _images_per_second_at_once(train: Callable[[], list[float]], processes: int, batch: int, gpus: int) -> float:
    with ProcessPoolExecutor(processes, get_context("spawn"), choose_device, (gpus,)) as pool:
        runs = [pool.submit(train) for _ in range(processes)]
        return sum(batch / median(run.result()) for run in runs)


class _Stopwatch(Checkpoint):
    """Takes the time where a training would save its state: after each iteration."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(Path("unused"), "bench")
        self._device = device
        self.times = [perf_counter()]

    def load(self) -> None:
        self.times = [perf_counter()]

    def save_if_due(self, state: object) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(perf_counter())

    def seconds(self, iterations: int) -> list[float]:
        """Return those of the last iterations."""
        return [end - start for start, end in itertools.pairwise(self.times)][-iterations:]


def _images(name: str, batch: int) -> TrainingImages:
    """Return random images that fill their canvas, with boxes of a tenth to a half of its side."""
    canvas, rng = CONFIGS[name].image_canvas, np.random.default_rng(0)
    sizes = np.full((batch, 2), canvas.width)
    pixels = rng.integers(0, 256, (batch, canvas.height, canvas.width, 3), dtype=np.uint8)
    side = rng.uniform(0.1, 0.5, (batch, BOXES, 2))
    corner = rng.uniform(0, 1 - side)
    boxes = torch.from_numpy(np.concatenate([corner, corner + side], 2) * canvas.width).float()
    labels = torch.from_numpy(rng.integers(0, CLASSES[name], (batch, BOXES)))
    covered = torch.from_numpy(sizes).float()
    return TrainingImages(
        np.arange(batch), Images(pixels, sizes, canvas), np.arange(batch), Targets(boxes, labels), covered
    )


def _train(name: str, batch: int, iterations: int, device: torch.device, settings: dict[str, Any]) -> list[float]:
    ssd = name == "ssd300_vgg16"
    augmentation = AugmentationConfig(
        zoom_in=1.0, zoom_out=1.0, colour=0.0, crop="iou" if ssd else "zoom", distort=0.5 if ssd else 0.0
    )
    config = TrainingConfig(
        batch_size=batch, optimizer="sgd", learning_rate=LEARNING_RATE, augmentation=augmentation, **settings
    )
    detector = random_detector(CONFIGS[name], CLASSES[name], 0).to(device)
    stopwatch = _Stopwatch(device)
    train_detector(
        detector, _images(name, batch), config, _with_warm_up(iterations), 0, "bench", checkpoint=stopwatch
    )
    return stopwatch.seconds(iterations)


def _train_plainly(
    name: str, batch: int, iterations: int, device: torch.device, kind: torch.dtype | None
) -> list[float]:
    detector = random_detector(CONFIGS[name], CLASSES[name], 0).to(memory_format=torch.contiguous_format)
    assert isinstance(detector, SSD300 | RetinaNet)
    first_label = int(isinstance(detector, SSD300))
    model: Any = (detector.ssd if isinstance(detector, SSD300) else detector.retinanet).to(device).train()
    side = detector.size[0]
    assert isinstance(model.transform, GeneralizedRCNNTransform)
    model.transform.min_size, model.transform.max_size = (side,), side
    images, targets = _as_lists(_images(name, batch), side, first_label, device)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, LEARNING_RATE, momentum=0.9)
    stopwatch = _Stopwatch(device)
    for _ in range(_with_warm_up(iterations)):
        with torch.autocast(device.type, kind, enabled=kind is not None):
            losses = model(images, targets)
        optimizer.zero_grad()
        sum(losses.values(), torch.zeros((), device=device)).backward()
        optimizer.step()
        stopwatch.save_if_due(None)
    return stopwatch.seconds(iterations)


def _with_warm_up(iterations: int) -> int:
    return iterations + min(WARM_UP, iterations)


@torch.no_grad()
def _detect(name: str, batch: int, iterations: int, device: torch.device) -> list[float]:
    detector = random_detector(CONFIGS[name], CLASSES[name], 0).to(device).eval()
    images, config, stopwatch = _images(name, batch), EvaluationConfig(), _Stopwatch(device)
    limits = Limits(config.score_threshold, config.nms_iou, config.max_detections)
    for _ in range(_with_warm_up(iterations)):
        for _, inputs in image_chunks(images.images, images.rows, "inference", device):
            detector.detect(inputs, limits)
        stopwatch.save_if_due(None)
    return stopwatch.seconds(iterations)


def _as_lists(
    images: TrainingImages, side: int, first_label: int, device: torch.device
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    pixels, targets = images.batch(torch.arange(len(images.rows)))
    scaled = nn.functional.interpolate(pixels.float() / 255, (side, side), mode="bilinear").contiguous().to(device)
    boxes = (targets.boxes * (side / pixels.shape[3])).to(device)
    labels = (targets.labels + first_label).to(device)
    return list(scaled), [{"boxes": b, "labels": one} for b, one in zip(boxes, labels, strict=True)]
