"""What the cycle's detector makes of the images of a query, and the objects that it finds."""

from collections.abc import Iterator
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.config import EvaluationConfig
from mgral.data.images import Images
from mgral.data.results import FoundBoxes
from mgral.evaluation.detect import image_chunks
from mgral.models.interface import DenseModel, DetectorModel, Predictions
from mgral.models.suppression import Found, Limits
from mgral.selection.query import Query

FOUND_SCORE = 0.05
"""Score from which a box counts as found, as in PPAL (Yang et al. 2024) and mmdetection."""


def detector_and_images(query: Query) -> tuple[DetectorModel, Images]:
    """Return the cycle's detector and the images; the strategy must require `detections`."""
    assert query.images is not None
    assert query.detector is not None
    return query.detector, query.images


def dense_and_images(query: Query) -> tuple[DenseModel, Images]:
    """Return the cycle's dense detector and the images; the strategy must require `dense`."""
    detector, images = detector_and_images(query)
    return cast(DenseModel, detector), images  # as `select` has checked


def pool_chunks(
    query: Query, detector: DetectorModel, images: Images, title: str
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Yield rows of the data set, in the order of the pool, and what the detector is shown of them."""
    return image_chunks(images, query.dataset.rows(query.pool), title, detector.device)


@torch.no_grad()
def find_boxes(detector: DenseModel, predictions: Predictions, config: EvaluationConfig) -> list[Found]:
    """Return the boxes found in each image, given a dense detector's predictions; an anchor may give several classes.

    As in the other functions here, boxes need a score of `FOUND_SCORE`, and `evaluation.score_threshold` is not
    used.
    """
    return detector.find(predictions, _limits(config))


@torch.no_grad()
def find_objects(detector: DenseModel, predictions: Predictions, config: EvaluationConfig) -> list[Found]:
    """Return the objects of each image, given a dense detector's predictions; see `detect_objects`."""
    return [detections.objects() for detections in find_boxes(detector, predictions, config)]


@torch.no_grad()
def detect_objects(detector: DetectorModel, inputs: Tensor, config: EvaluationConfig) -> list[Found]:
    """Detect objects in images, [B, 3, H, W] in 0..255; each anchor, proposal or query gives one at most."""
    return [detections.objects() for detections in detector.detect(inputs, _limits(config))]


def _limits(config: EvaluationConfig) -> Limits:
    return Limits(FOUND_SCORE, config.nms_iou, config.max_detections)


def objects_of_pool(query: Query, title: str) -> Iterator[Found]:
    """Yield the objects that the cycle's detector finds in each image of the pool, on the CPU.

    Those of all images together can take gigabytes: keep of each image only what is needed.
    """
    return objects_of(query, query.pool, title)


def objects_of(query: Query, image_ids: npt.NDArray[np.int64], title: str) -> Iterator[Found]:
    """Yield the objects that the cycle's detector finds in some images, on the CPU."""
    if query.found is not None:
        yield from _objects_in(query.found, query.dataset.rows(image_ids), query.config.evaluation)
        return
    detector, images = detector_and_images(query)
    for _, inputs in image_chunks(images, query.dataset.rows(image_ids), title, detector.device):
        for objects in detect_objects(detector, inputs, query.config.evaluation):
            yield objects.to("cpu")


def _objects_in(found: FoundBoxes, rows: npt.NDArray[np.int64], config: EvaluationConfig) -> Iterator[Found]:
    """Yield the objects in rows of the data set that a command has found, in pixels of the original images."""
    detections = found.above(FOUND_SCORE, config.max_detections)
    for row_boxes in map(detections.of_row, rows.tolist()):
        yield Found(
            torch.from_numpy(row_boxes.boxes),
            torch.from_numpy(row_boxes.scores),
            torch.from_numpy(row_boxes.labels),
            torch.from_numpy(row_boxes.distributions),
            torch.arange(len(row_boxes.rows)),
        ).objects()
