"""Benchmark `training`: this project's training loop against a plain torchvision one."""

import math
import multiprocessing
import os
import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any, Protocol, get_args

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection.ssd import SSD
from torchvision.transforms.functional import to_tensor

from benchmarks.machine import Measurements, machine, show
from mgral.artefacts.files import read_json
from mgral.artefacts.seeds import derive_seed
from mgral.config import AugmentationConfig, Config, Precision, SyntheticData, TrainingConfig, load_config
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.errors import InputError
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import detect_images
from mgral.models.build import build_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.interface import DetectorModel
from mgral.models.small_ssd import PIXEL_DEVIATION, PIXEL_MEAN, SmallSSD
from mgral.training.batches import TrainingImages, training_images
from mgral.training.loop import learning_rate_factor, train_detector

PROFILED = 20
"""Iterations of which the parts are timed."""
WARM_UP = 3
"""Iterations before those that are timed, as what a process does for the first time takes longer."""

Train = Callable[[SmallSSD, TrainingImages, TrainingConfig, int], None]


@click.command("training")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("results/synthetic"),
    help="Folder of an experiment, for its images and its settings.",
)
@click.option("--iterations", type=click.IntRange(min=2), default=300, help="Steps of each training.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="Trainings by each loop, in turn.")
@click.option(
    "--cores", type=click.IntRange(min=1), default=os.cpu_count(), help="Processor cores that both ways may use."
)
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    help="What this project's loop computes convolutions in; as the experiment unless given. bfloat16 is fast on "
    "processors with AMX.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    results: Path, iterations: int, seeds: int, cores: int, precision: Precision | None, as_json: bool
) -> None:
    """Train the same model on the same images both ways: images a second and test AP.

    The plain loop is torchvision's own: a DataLoader without workers, lists of images and targets, the model's
    transform and loss, and this project's optimiser, schedule and clipping. It is run twice: `plain` reads each
    image from its file, as such a loop does; `decoded` is handed the pixels of the image cache, so that only the
    loop itself differs. All flip at random and change nothing else. These have one thread each. With all cores, the
    plain loop has a thread a core (`plain_all_cores`), and both also run as in the workflow: a training a core, of
    one thread each, at once (`plain_side_by_side`, `mgral_side_by_side`: the images of all trainings together).
    `convolution_share` is the
    part of this project's step that convolution and batch normalisation take, forward and backward, as torch's
    profiler has it.
    """
    torch.set_num_threads(1)
    config = load_config(results / "config.yaml")
    if not isinstance(config.detector, SmallSSDConfig):
        raise InputError(
            f"bench training is of small_ssd; for {config.detector.name} run `python -m benchmarks detector`"
        )
    if precision:
        training = config.training.model_copy(update={"precision": precision})
        config = config.model_copy(update={"training": training})
    loops: dict[str, Train] = {
        "plain": _PlainLoop(_ImageFiles(results, config)),
        "decoded": _PlainLoop(CachedPixels()),
        "mgral": _train_as_here,
    }
    runs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(seeds):
        for name, train in loops.items():
            runs[name].append(_measure(train, results, config, iterations, seed))
        torch.set_num_threads(cores)
        runs["plain_all_cores"].append(_measure(loops["plain"], results, config, iterations, seed))
        torch.set_num_threads(1)
        for name in ("plain", "mgral"):
            side_by_side = _measure_side_by_side(loops[name], cores, results, config, iterations, seed)
            runs[f"{name}_side_by_side"].append(side_by_side)
    width, height = config.detector.image_canvas.input_size
    measured: Measurements = {
        "iterations": iterations,
        "cores": cores,
        "batch_size": config.training.batch_size,
        "width": width,
        "height": height,
        "precision": config.training.precision,
    }
    for name, of_loop in runs.items():
        measured[f"{name}_images_per_second"] = statistics.median(speed for speed, _ in of_loop)
        measured[f"{name}_ap50_mean"] = statistics.mean(ap for _, ap in of_loop)
        measured[f"{name}_ap50_deviation"] = statistics.stdev(ap for _, ap in of_loop) if seeds > 1 else 0.0
    for ours, theirs in (
        ("mgral", "plain"),
        ("mgral", "decoded"),
        ("mgral_side_by_side", "plain_side_by_side"),
        ("mgral_side_by_side", "plain_all_cores"),
    ):
        ratios = [here[0] / there[0] for here, there in zip(runs[ours], runs[theirs], strict=True)]
        measured |= {
            f"{ours}_to_{theirs}_min": min(ratios),
            f"{ours}_to_{theirs}_median": statistics.median(ratios),
        }
    measured["convolution_share"] = _convolution_share(results, config)
    show(measured | machine(), as_json)


def _convolution_share(results: Path, config: Config) -> float:
    """Return the part of this project's step that convolution and batch normalisation take: what bounds it."""
    with torch.profiler.profile() as profiler:
        _measure(_train_as_here, results, config, PROFILED, seed=0, score=False)
    averages = profiler.key_averages()
    times = {event.key: event.self_cpu_time_total for event in averages}
    layers = sum(time for name, time in times.items() if re.search("conv|batch_norm", name) and "aten::" in name)
    return float(layers / sum(times.values()))


def _measure(
    train: Train, results: Path, config: Config, iterations: int, seed: int, score: bool = True
) -> tuple[float, float]:
    """Return images a second in training, and AP50 on the test images, or 0 unless it is asked for."""
    data = load_dataset(results / "dataset/train.json")
    cached = load_images(results / "dataset/train.npy", data, config.detector.image_canvas)
    images = training_images(data, cached, data.image_ids)
    detector = build_detector(config.detector, len(data.categories), derive_seed(seed, "weights"))
    assert isinstance(detector, SmallSSD)
    augmentation = AugmentationConfig(flip=0.5, zoom_in=1.0, zoom_out=1.0, colour=0.0)
    training = config.training.model_copy(update={"augmentation": augmentation})
    start = perf_counter()
    torch.manual_seed(seed)
    train(detector, images, training, iterations)
    seconds = perf_counter() - start
    ap50 = _test_ap50(detector.eval(), results, config) if score else 0.0
    return iterations * training.batch_size / seconds, ap50


def _measure_side_by_side(
    train: Train, cores: int, results: Path, config: Config, iterations: int, seed: int
) -> tuple[float, float]:
    """Return images a second of a training a core, all at once, and the AP50 of the first."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(cores, mp_context=context) as processes:
        measure = partial(_measure_with_others, train, manager.Barrier(cores), results, config, iterations)
        found = list(processes.map(measure, range(seed, seed + cores)))
    return sum(speed for speed, _ in found), found[0][1]


def _measure_with_others(
    train: Train, all_ready: Barrier, results: Path, config: Config, iterations: int, seed: int
) -> tuple[float, float]:
    torch.set_num_threads(1)
    _measure(train, results, config, WARM_UP, seed, score=False)
    all_ready.wait()
    return _measure(train, results, config, iterations, seed)


def _test_ap50(detector: DetectorModel, results: Path, config: Config) -> float:
    path = results / "dataset/test.json"
    test = load_dataset(path)
    rows = np.arange(len(test.image_ids))
    cached = load_images(results / "dataset/test.npy", test, config.detector.image_canvas)
    found = detect_images(detector, test, cached, rows, config.evaluation)
    return float(score_detections(read_json(path), found, test.image_ids.tolist())["ap50"])


def _train_as_here(detector: SmallSSD, images: TrainingImages, config: TrainingConfig, iterations: int) -> None:
    train_detector(detector, images, config, iterations, torch.initial_seed(), "mgral")


class _PlainLoop:
    def __init__(self, source: "_ImageSource") -> None:
        self._source = source

    def __call__(self, detector: SmallSSD, images: TrainingImages, config: TrainingConfig, iterations: int) -> None:
        model: SSD = detector.ssd.to(memory_format=torch.contiguous_format)
        model.transform.image_mean = [PIXEL_MEAN / 255] * 3
        model.transform.image_std = [PIXEL_DEVIATION / 255] * 3
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: learning_rate_factor(t, iterations, config))
        samples = PlainImages(images, self._source)
        loader = DataLoader(samples, config.batch_size, shuffle=True, drop_last=True, collate_fn=as_lists)
        model.train()
        done = 0
        while done < iterations:
            for batch, targets in loader:
                loss = sum(model(batch, targets).values(), torch.zeros(()))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_norm or math.inf)
                optimizer.step()
                schedule.step()
                done += 1
                if done == iterations:
                    break


class _ImageSource(Protocol):
    def __call__(self, images: TrainingImages, index: int) -> Tensor:
        """Return an image as float32 [3, H, W] in 0..1."""


class CachedPixels:
    """Pixels of the image cache."""

    def __call__(self, images: TrainingImages, index: int) -> Tensor:
        """Return an image as float32 [3, H, W] in 0..1."""
        return torch.from_numpy(images.images.image(int(images.rows[index])).copy()).permute(2, 0, 1) / 255


class _ImageFiles:
    def __init__(self, results: Path, config: Config) -> None:
        data = config.data
        root = results / "dataset/synthetic" if isinstance(data, SyntheticData) else Path(data.root)
        self._paths = [root / name for name in load_dataset(results / "dataset/train.json").file_names]

    def __call__(self, images: TrainingImages, index: int) -> Tensor:
        with Image.open(self._paths[images.rows[index]]) as image:
            pixels: Tensor = to_tensor(image.convert("RGB"))
            return pixels


class PlainImages(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Images and targets one by one, as torchvision's detectors take them, flipped at random."""

    def __init__(self, images: TrainingImages, source: _ImageSource) -> None:
        self._images, self._source = images, source

    def __len__(self) -> int:
        return len(self._images.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image = self._source(self._images, index)
        labels = self._images.targets.labels[index]
        # Boxes are kept at the cache's resolution; the model's own transform resizes image and boxes alike.
        scale = torch.tensor([image.shape[2], image.shape[1]]) / self._images.covered[index]
        boxes = self._images.targets.boxes[index][labels >= 0] * scale.repeat(2)
        if torch.rand(()) < 0.5:
            image = image.flip(2)
            x1, y1, x2, y2 = boxes.unbind(1)
            boxes = torch.stack([image.shape[2] - x2, y1, image.shape[2] - x1, y2], 1)
        return image, {"boxes": boxes, "labels": labels[labels >= 0] + 1}


def as_lists(samples: list[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Any, ...]:
    """Return lists of images and of targets."""
    return tuple(zip(*samples, strict=True))
