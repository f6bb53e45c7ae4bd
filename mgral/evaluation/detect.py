"""Running a detector over cached images."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.compute.progress import tracked
from mgral.config import EvaluationConfig
from mgral.config.canvas import Canvas
from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.models.interface import DetectorModel
from mgral.models.suppression import Limits
from mgral.models.view import show


def image_chunks(
    images: Images, rows: npt.NDArray[np.int64], title: str, device: torch.device
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Yield rows and what a detector is shown of them, [B, 3, H, W] on a device, with a titled progress bar."""
    size = images.canvas.chunk
    covered = torch.from_numpy(images.covered.astype(np.float32))
    starts = range(0, len(rows), size)
    for start in tracked(starts, title, len(starts), "batch"):
        part = rows[start : start + size]
        pixels = torch.from_numpy(images.read(part)).permute(0, 3, 1, 2)
        images.prefetch(rows[start + size : start + 2 * size])
        yield part, show(pixels.to(device), covered[part].to(device), images.canvas)


def detect_images(
    detector: DetectorModel,
    dataset: Dataset,
    images: Images,
    rows: npt.NDArray[np.int64],
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """Run a detector over rows of a data set.

    Returns
    -------
    COCO results: image_id, category_id, bbox [x, y, width, height] in pixels of the original image, score.
    """
    results: list[dict[str, Any]] = []
    for part, inputs in image_chunks(images, rows, "detect", detector.device):
        results += detect_shown(detector, dataset, part, inputs, images.canvas, config)
    return results


@torch.no_grad()
def detect_shown(
    detector: DetectorModel,
    dataset: Dataset,
    rows: npt.NDArray[np.int64],
    inputs: Tensor,
    canvas: Canvas,
    config: EvaluationConfig,
) -> list[dict[str, Any]]:
    """Run a detector over what it is shown, [B, 3, H, W], of B rows of a data set; see `detect_images`."""
    shown_sizes = canvas.shown(dataset.sizes[rows])
    limits = Limits(config.score_threshold, config.nms_iou, config.max_detections)
    results: list[dict[str, Any]] = []
    for row, shown_size, detections in zip(rows, shown_sizes, detector.detect(inputs, limits), strict=True):
        scale = np.tile(dataset.sizes[row] / shown_size, 2)
        boxes = np.minimum(detections.boxes.cpu().numpy() * scale, np.tile(dataset.sizes[row], 2))
        results += coco_results(dataset, row, boxes, detections.scores.tolist(), detections.labels.tolist())
    return results


def coco_results(
    dataset: Dataset, row: int, boxes: npt.NDArray[np.floating[Any]], scores: Iterable[float], labels: Iterable[int]
) -> list[dict[str, Any]]:
    """Return what was found in an image as COCO results, given boxes [n, 4]: x1, y1, x2, y2 in its own pixels."""
    sides = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return [
        {
            "image_id": int(dataset.image_ids[row]),
            "category_id": dataset.categories[label].id,
            "bbox": [round(float(side), 2) for side in box],
            "score": round(float(score), 5),
        }
        for box, score, label in zip(sides, scores, labels, strict=True)
    ]
