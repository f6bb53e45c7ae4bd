"""What a detector must offer to be trained, regularised, evaluated and embedded by the pipeline."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Targets(NamedTuple):
    """The boxes of a batch, padded to the largest number of boxes M of its images."""

    boxes: Tensor
    """float32 [B, M, 4]: x1, y1, x2, y2 in pixels at the detector's resolution; padding is zero."""
    labels: Tensor
    """int64 [B, M]: indices into the data set's categories; padding is -1."""


class Predictions(NamedTuple):
    """What the network says of each anchor, before any decoding."""

    logits: Tensor
    """float32 [B, A, C + 1], class 0 is the background."""
    offsets: Tensor
    """float32 [B, A, 4]: dx, dy, dw, dh relative to the anchor."""


class Detections(NamedTuple):
    """The boxes found in one image, best first."""

    boxes: Tensor
    """float32 [n, 4]: x1, y1, x2, y2 in pixels at the detector's resolution."""
    scores: Tensor
    """float32 [n], in 0..1."""
    labels: Tensor
    """int64 [n]: indices into the data set's categories."""


class Detector(nn.Module, ABC):
    """An anchor-based, single-stage detector; images are uint8 or float [B, 3, H, W] in 0..255, on its device.

    To be trained in several processes, each with a share of a batch, it normalises by `distributed.BatchNorm2d`.
    """

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        return next(self.parameters()).device

    @abstractmethod
    def forward(self, images: Tensor) -> Predictions:
        """Predict every anchor of every image."""

    @abstractmethod
    def loss(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return the supervised loss of a batch, a scalar; of a share of it, what the share adds to that loss."""

    @abstractmethod
    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits [B, A, C + 1] into distributions over the background and the classes, same shape."""

    @abstractmethod
    def mirror(self, predictions: Predictions) -> Predictions:
        """Turn the predictions on horizontally flipped images into what they say of the unflipped ones."""

    @abstractmethod
    def detect(
        self, predictions: Predictions, score_threshold: float, nms_iou: float, max_detections: int
    ) -> list[Detections]:
        """Decode predictions and suppress overlaps, an entry an image."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return the pooled backbone features, float32 [B, F]: the averages, then the maxima of each map."""
