"""From the class scores of candidate boxes to the boxes that are found: threshold and non-maximum suppression."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms

MOST_PAIRS = 5000
"""Largest number of pairs of box and class of an image that enter the suppression: those with the best scores."""


class Limits(NamedTuple):
    """Thresholds that decide which boxes are detections."""

    score_threshold: float
    """Score above which a box counts for a class, 0 to 1."""
    nms_iou: float
    """IoU with a better box of the same class above which a box is dropped."""
    max_detections: int
    """Largest number of boxes that are kept in an image."""


class Found(NamedTuple):
    """The boxes found in one image, best first."""

    boxes: Tensor
    """float32 [n, 4]: x1, y1, x2, y2 in pixels of what the detector was shown."""
    scores: Tensor
    """float32 [n], in 0..1."""
    labels: Tensor
    """int64 [n]: indices into the data set's categories."""
    distributions: Tensor
    """float32 [n, C + 1]: the probabilities of the background, first, and the classes."""
    sources: Tensor
    """int64 [n]: the anchor, proposal or query that each comes from."""

    def only(self, chosen: Tensor) -> "Found":
        """Return some of the boxes, by a mask or by rows."""
        return Found(*(tensor[chosen] for tensor in self))

    def to(self, device: torch.device | str) -> "Found":
        """Return the same on a device."""
        return Found(*(tensor.to(device) for tensor in self))

    def objects(self) -> "Found":
        """Return the boxes whose class is the most probable one of their source, so that an object counts once."""
        return self.only(self.distributions[:, 1:].argmax(1) == self.labels)


def suppress(boxes: Tensor, scores: Tensor, limits: Limits) -> tuple[Tensor, Tensor]:
    """Return the boxes of one image that are above the threshold and not suppressed by a better one of their class.

    Parameters
    ----------
    boxes
        float32 [P, 4], a box for each of P sources (anchors, proposals or queries); or [P, C, 4], one for each
        class of a source.
    scores
        float32 [P, C].

    Returns
    -------
    Their sources and their classes, int64 [n] each, best first.
    """
    sources, labels = (scores > limits.score_threshold).nonzero(as_tuple=True)
    best = scores[sources, labels].topk(min(MOST_PAIRS, len(sources))).indices
    sources, labels = sources[best], labels[best]
    candidates = boxes[sources] if boxes.ndim == 2 else boxes[sources, labels]
    kept = batched_nms(candidates, scores[sources, labels], labels, limits.nms_iou)[: limits.max_detections]
    return sources[kept], labels[kept]
