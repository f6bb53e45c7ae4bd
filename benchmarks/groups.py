"""Benchmark `groups`: near-copies in a set of the size of COCO, by generated thumbnails."""

from time import process_time

import click
import numpy as np
import numpy.typing as npt

from benchmarks.machine import Measurements, machine, peak_memory, show
from mgral.config import NearCopiesConfig
from mgral.data.groups import find_groups
from mgral.data.thumbnails import SIDE

PART = 4096
"""Thumbnails that are drawn at once."""


@click.command("groups")
@click.option("--train", type=click.IntRange(min=20), default=118287, help="Training images.")
@click.option("--test", type=click.IntRange(min=1), default=5000, help="Test images.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(train: int, test: int, as_json: bool) -> None:
    """Find near-copies among scenes, one in twenty of which is there twice: processor seconds, peak memory (MB)."""
    show(measure_groups(train, test) | machine(), as_json)


def measure_groups(train: int, test: int) -> Measurements:
    """Time the comparison of all training images with each other, and with all test images."""
    rng = np.random.default_rng(0)
    train_thumbnails, test_thumbnails = _scenes(train, rng), _scenes(test, rng)
    copies = train // 20
    noise = rng.integers(-3, 4, (copies, SIDE, SIDE))
    train_thumbnails[copies : 2 * copies] = (train_thumbnails[:copies] + noise).clip(0, 255)
    start = process_time()
    found = find_groups(np.arange(train), train_thumbnails, np.arange(test), test_thumbnails, NearCopiesConfig())
    return {
        "train": train,
        "test": test,
        "groups": len(found.groups),
        "processor_seconds": process_time() - start,
        "peak_memory_mb": peak_memory(),
    }


def _scenes(count: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Draw patches of 4 x 4 pixels and noise, with the brightness and contrast of photographs."""
    scenes = np.empty((count, SIDE, SIDE), np.uint8)
    for start in range(0, count, PART):
        part = scenes[start : start + PART]
        patches = rng.normal(size=(len(part), SIDE // 4, SIDE // 4)) * rng.uniform(15, 60, (len(part), 1, 1))
        levels = rng.normal(115, 30, (len(part), 1, 1)) + rng.normal(0, 12, part.shape)
        part[:] = (levels + np.kron(patches, np.ones((1, 4, 4)))).clip(0, 255)
    return scenes
