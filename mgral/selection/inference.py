"""What the cycle's detector predicts for the images of a query, and the objects that it finds."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import batched_nms

from mgral.config import EvaluationConfig
from mgral.data.images import Images
from mgral.evaluation.detect import image_chunks
from mgral.models.interface import Detector, Predictions
from mgral.selection.query import Query

OBJECT_SCORE = 0.05
"""Score from which a box counts as found, as in PPAL (Yang et al. 2024) and mmdetection."""
CANDIDATES = 1000
"""Best boxes of an image before overlapping ones are dropped."""


class Objects(NamedTuple):
    """The boxes found in one image, best first."""

    boxes: Tensor
    """float32 [n, 4]: x1, y1, x2, y2 in pixels of what the detector was shown."""
    scores: Tensor
    """float32 [n], the probability of the class."""
    labels: Tensor
    """int64 [n]: indices into the data set's categories."""
    anchors: Tensor
    """int64 [n]: the anchor that each comes from."""
    distributions: Tensor
    """float32 [n, C + 1]: the anchor's probabilities, of the background first."""


def detector_and_images(query: Query) -> tuple[Detector, Images]:
    """Return the cycle's detector and the images, of a strategy that requires them."""
    assert query.images is not None
    assert query.detector is not None
    return query.detector, query.images


def pool_chunks(
    query: Query, detector: Detector, images: Images, what: str
) -> Iterator[tuple[npt.NDArray[np.int64], Tensor]]:
    """Yield rows of the data set, in the order of the pool, and what the detector is shown of them."""
    return image_chunks(images, query.dataset.rows(query.pool), what, detector.device)


@torch.no_grad()
def find_objects(detector: Detector, predictions: Predictions, config: EvaluationConfig) -> list[Objects]:
    """Find the objects of each image, as `Detector.detect` does, with the anchor that each comes from.

    But an anchor gives one box, of its likeliest class, and not one of each class above the threshold, or an object
    that two classes claim would count twice.
    """
    boxes = detector.boxes(predictions.offsets)
    probabilities = detector.class_probabilities(predictions.logits)
    return [_find(*one, config) for one in zip(boxes, probabilities, strict=True)]


def _find(boxes: Tensor, probabilities: Tensor, config: EvaluationConfig) -> Objects:
    likeliest, classes = probabilities[:, 1:].max(dim=1)
    (anchors,) = (likeliest > OBJECT_SCORE).nonzero(as_tuple=True)
    scores, labels = likeliest[anchors], classes[anchors]
    best = scores.topk(min(CANDIDATES, len(scores))).indices
    anchors, labels, scores = anchors[best], labels[best], scores[best]
    kept = batched_nms(boxes[anchors], scores, labels, config.nms_iou)[: config.max_detections]
    anchors, labels, scores = anchors[kept], labels[kept], scores[kept]
    return Objects(boxes[anchors], scores, labels, anchors, probabilities[anchors])


@torch.no_grad()
def objects_of_pool(query: Query, what: str) -> list[Objects]:
    """Return the objects that the cycle's detector finds in each image of the pool, on the CPU."""
    detector, images = detector_and_images(query)
    return [
        Objects(*(part.cpu() for part in one))
        for _, shown in pool_chunks(query, detector, images, what)
        for one in find_objects(detector, detector(shown), query.config.evaluation)
    ]
