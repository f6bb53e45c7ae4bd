"""What the tests of detectors of every family do with one: train it on squares, and look at what it finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from squares import squares
from stopping import StoppedError, stop_after

from mgral.config import DetectorConfig, EvaluationConfig, TrainingConfig
from mgral.config.canvas import Canvas
from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.evaluation.detect import detect_images
from mgral.models.build import random_detector
from mgral.models.interface import DetectorModel
from mgral.training.batches import training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.loop import train_detector


def squares_at(canvas: Canvas, count: int = 4) -> tuple[Dataset, Images]:
    """Return the squares on another canvas."""
    dataset, images = squares(count)
    pixels = torch.from_numpy(images.stored).permute(0, 3, 1, 2).float()
    shown = torch.nn.functional.interpolate(pixels, (canvas.height, canvas.width), mode="nearest")
    return dataset, Images(shown.permute(0, 2, 3, 1).byte().numpy(), dataset.sizes, canvas)


def trained(
    config: DetectorConfig,
    iterations: int,
    checkpoint: Checkpoint | None = None,
    **training: Any,
) -> tuple[DetectorModel, list[dict[str, float]]]:
    """Return a detector trained from random weights, and its history."""
    dataset, images = squares_at(config.image_canvas)
    detector = random_detector(config, 1, seed=0)
    torch.seed()  # as in a new process: what is drawn follows from the training's seed alone
    settings = TrainingConfig(**{"batch_size": 2, "learning_rate": 1e-4} | training)
    labelled = training_images(dataset, images, dataset.image_ids)
    return detector, train_detector(detector, labelled, settings, iterations, 0, "detector", checkpoint=checkpoint)


def resumed(
    config: DetectorConfig, iterations: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[DetectorModel, list[dict[str, float]]]:
    """Train half of the iterations, and from their checkpoint the other half."""
    with pytest.raises(StoppedError), stop_after(iterations // 2, monkeypatch):
        trained(config, iterations, Checkpoint(path, "test", every=0))
    return trained(config, iterations, Checkpoint(path, "test"))


def differing(first: DetectorModel, second: DetectorModel) -> list[str]:
    """Return the names of tensors that are not the same bits."""
    other = second.state_dict()
    return [name for name, one in first.state_dict().items() if not torch.equal(one, other[name])]


def found_in_squares(detector: DetectorModel, config: DetectorConfig) -> list[dict[str, Any]]:
    """Return what a detector finds in the squares, as COCO results."""
    dataset, images = squares_at(config.image_canvas)
    detector.eval()
    return detect_images(detector, dataset, images, np.arange(4), EvaluationConfig(score_threshold=0.0))
