"""How fast this machine trains, detects and teaches an agent: a few iterations, timed on random images."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mgral.compute.device import choose_device
from mgral.config import Config, images_in
from mgral.data.images import Images
from mgral.engine.cost import Sizes, planned_in_images
from mgral.errors import StepError
from mgral.evaluation.detect import image_chunks
from mgral.method.agent.batch_training import train_batch_agent
from mgral.method.agent.training import train_agent
from mgral.method.lut.composition import CLUSTERS, FEATURES, Composition
from mgral.method.lut.learned import LearnedReward
from mgral.models.build import random_detector
from mgral.models.interface import Targets
from mgral.models.suppression import Limits
from mgral.training.batches import TrainingImages
from mgral.training.checkpoint import Checkpoint
from mgral.training.loop import train_detector

ITERATIONS = 5
"""Timed of each kind, after as many that are not: the first ones make room in memory."""
BOXES = 8
"""Boxes in an image."""


def measure_rates(config: Config, sizes: Sizes, gpus: int, jobs: int = 1) -> dict[str, float]:
    """Measure the speed of training, of detection and of the agent, in each of several jobs that run at once.

    Parameters
    ----------
    config
        Whose detector, batches and agent are measured.
    sizes
        Of the data set: its classes and, for the agent, its pool.
    gpus
        0 for the CPU, 1 for the first GPU.
    jobs
        Processes that are timed at once: jobs that run side by side share caches, memory and cores, and each is
        slower than one alone.

    Returns
    -------
    training_images_a_second, inference_images_a_second and, with an agent, steps_a_second, which are its episodes;
    means over jobs.

    Raises
    ------
    StepError
        Where one of several processes was killed.
    """
    if jobs == 1:
        return _measure(config, sizes, gpus, lambda: None)
    context = get_context("spawn")
    barrier = context.Barrier(jobs)
    try:
        with ProcessPoolExecutor(jobs, context, _take_barrier, (barrier,)) as pool:
            try:
                with _interrupts_held_back():
                    futures = [pool.submit(_measure_beside, config, sizes, gpus, number) for number in range(jobs)]
                measured = [future.result() for future in futures]
            except KeyboardInterrupt:
                for process in active_children():
                    process.terminate()
                raise
    except BrokenProcessPool:
        raise StepError(
            f"one of {jobs} processes that were timed at once was killed; had the machine too little memory? "
            "Give --cores a smaller number, to Snakemake too"
        ) from None
    return {name: fmean(rates[name] for rates in measured) for name in measured[0]}


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let processes that are started here never see Ctrl-C, of which each would print where it was."""
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)


def _measure(config: Config, sizes: Sizes, gpus: int, wait: Callable[[], Any]) -> dict[str, float]:
    """Return the rates of this process, which waits for others before each of them."""
    device = choose_device(gpus)
    images = _random_images(config, sizes.classes)
    wait()
    rates = {"training_images_a_second": config.training.batch_size / _training_seconds(config, images, device)}
    wait()
    rates["inference_images_a_second"] = len(images.rows) / _inference_seconds(config, images, device)
    if config.agents:
        wait()
        rates["steps_a_second"] = 1 / _episode_seconds(config, sizes, device.type)
    return rates


_barrier: Any = None
"""Where the measuring processes wait for each other; None in a single process."""


def _take_barrier(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _measure_beside(config: Config, sizes: Sizes, gpus: int, number: int) -> dict[str, float]:
    if number:  # one shows its progress for all
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        return _measure(config, sizes, gpus, _barrier.wait)
    except BaseException:
        _barrier.abort()
        raise


class _Stopwatch(Checkpoint):
    """Takes the time where a training would save its state: after each iteration."""

    def __init__(self, device: str) -> None:
        super().__init__(Path("unused"), "unused")
        self._device = device
        self._times: list[float] = []

    def load(self) -> None:
        self._times = [perf_counter()]

    def save_if_due(self, state: object) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
        self._times.append(perf_counter())

    @property
    def seconds(self) -> float:
        """The median of the last iterations."""
        return float(np.median(np.diff(self._times)[-ITERATIONS:]))


def _random_images(config: Config, classes: int) -> TrainingImages:
    """Return a batch of images that fill their canvas, with boxes of a tenth to a half of its sides."""
    canvas, count, rng = config.detector.image_canvas, config.training.batch_size, np.random.default_rng(0)
    sizes = np.tile([canvas.width, canvas.height], (count, 1))
    pixels = rng.integers(0, 256, (count, canvas.height, canvas.width, 3), dtype=np.uint8)
    side = rng.uniform(0.1, 0.5, (count, BOXES, 2))
    corner = rng.uniform(0, 1 - side)
    boxes = torch.from_numpy(np.concatenate([corner, corner + side], 2) * np.tile(sizes, 2)[:, None]).float()
    labels = torch.from_numpy(rng.integers(0, classes, (count, BOXES)))
    rows = np.arange(count)
    covered = torch.from_numpy(sizes).float()
    return TrainingImages(rows, Images(pixels, sizes, canvas), rows, Targets(boxes, labels), covered)


def _training_seconds(config: Config, images: TrainingImages, device: torch.device) -> float:
    detector = random_detector(config.detector, int(images.targets.labels.max()) + 1, 0).to(device)
    # A learning rate at which random weights stay finite, whatever is configured.
    training = config.training.model_copy(update={"learning_rate": 1e-5})
    stopwatch = _Stopwatch(device.type)
    train_detector(detector, images, training, 2 * ITERATIONS, 0, "measure training", checkpoint=stopwatch)
    return stopwatch.seconds


@torch.no_grad()
def _inference_seconds(config: Config, images: TrainingImages, device: torch.device) -> float:
    detector = random_detector(config.detector, int(images.targets.labels.max()) + 1, 0).to(device).eval()
    evaluation = config.evaluation
    limits = Limits(evaluation.score_threshold, evaluation.nms_iou, evaluation.max_detections)

    def detect() -> None:
        for _, inputs in image_chunks(images.images, images.rows, "measure inference", device):
            detections = detector.detect(inputs, limits)
            [len(image_detections.scores.cpu()) for image_detections in detections]

    return _median_seconds(detect)


def _episode_seconds(config: Config, sizes: Sizes, device: str) -> float:
    """Time the agent on random embeddings, rewarded by a random regression."""
    rng = np.random.default_rng(0)
    dimensions = config.embedding.dimensions + sizes.classes * config.embedding.object_counts
    images = sizes.train - config.initial
    pool = rng.standard_normal((images, dimensions), dtype=np.float32)
    reward = random_reward(rng.standard_exponential((images, sizes.classes), dtype=np.float32), rng)
    stopwatch = _Stopwatch(device)
    agent = config.agent.model_copy(update={"episodes": 2 * ITERATIONS})
    batch = images_in(planned_in_images(config, sizes).budget)
    if agent.policy == "batch":
        train_batch_agent(pool, reward, agent, batch, 0, 0, stopwatch)
    else:
        train_agent(pool, reward, agent, batch, 0, 0, stopwatch, device)
    return stopwatch.seconds


def random_reward(counts: npt.NDArray[np.float32], rng: np.random.Generator) -> LearnedReward:
    """Return a regression of random weights on what images are made of, given object counts, float32 [N, C]."""
    images, classes = counts.shape
    kinds = np.eye(CLUSTERS, dtype=np.float32)[rng.integers(CLUSTERS, size=images)]
    ones = np.ones((images, 1), np.float32)
    amounts = np.concatenate([ones, np.minimum(counts, 1), counts, kinds], axis=1)
    composition = Composition(np.arange(images), amounts, classes)
    weights = rng.random((classes, len(FEATURES)))
    return LearnedReward(0.0, weights, composition, amounts.sum(axis=0, dtype=np.float64), amounts)


def _median_seconds(action: Callable[[], None]) -> float:
    seconds = []
    for _ in range(2 * ITERATIONS):
        start = perf_counter()
        action()
        seconds.append(perf_counter() - start)
    return median(seconds[-ITERATIONS:])
