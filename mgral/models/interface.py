"""What a detector must offer to be trained, regularised, evaluated and embedded by the pipeline."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from mgral.config import TrainingConfig
from mgral.models.quality import ClassQuality, paired_iou


class Targets(NamedTuple):
    """The boxes of a batch, padded to the largest number of boxes M of its images."""

    boxes: Tensor
    """float32 [B, M, 4]: x1, y1, x2, y2 in pixels of the images; padding is zero."""
    labels: Tensor
    """int64 [B, M]: indices into the data set's categories; padding is -1."""


class Predictions(NamedTuple):
    """What the network says of each anchor, before any decoding."""

    logits: Tensor
    """float32 [B, A, L]: what `Detector.class_probabilities` makes C + 1 probabilities of. L is C + 1, class 0 the
    background; or C where each class is a yes or no of its own."""
    offsets: Tensor
    """float32 [B, A, 4]: dx, dy, dw, dh relative to the anchor."""


class Detections(NamedTuple):
    """The boxes found in one image, best first."""

    boxes: Tensor
    """float32 [n, 4]: x1, y1, x2, y2 in pixels of what the detector was shown."""
    scores: Tensor
    """float32 [n], in 0..1."""
    labels: Tensor
    """int64 [n]: indices into the data set's categories."""


class Detector(nn.Module, ABC):
    """An anchor-based, single-stage detector; images are uint8 or float [B, 3, H, W] in 0..255, on its device."""

    size: tuple[int, int]
    """Height and width of the images, in pixels."""
    anchors: Tensor
    """float32 [A, 4]: x1, y1, x2, y2 in pixels, map by map, row by row, cell by cell."""
    grids: Sequence[tuple[int, int]]
    """Height and width of each map."""
    anchors_a_cell: Sequence[int]
    """Anchors of a cell of each map."""
    class_quality: ClassQuality
    """Quality by class of the matched anchors that `loss` has seen in training mode."""

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> Predictions:
        """Predict every anchor of every image."""
        return self.predict(self.maps(images))

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's feature maps, finest first, float32 [B, F, h, w] each."""

    @abstractmethod
    def predict(self, maps: list[Tensor]) -> Predictions:
        """Predict every anchor from the feature maps."""

    def class_maps(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the maps that classes are predicted from: those of the backbone, unless the head has a tower."""
        return maps

    @abstractmethod
    def loss(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return the supervised loss of a batch, a scalar; of shares of it, numbers whose mean is that loss.

        In training mode it tells `class_quality` of its matched anchors.
        """

    @abstractmethod
    def match(self, targets: Targets) -> Tensor:
        """Return the index of each anchor's box in its image, int64 [B, A]; negative where it has none."""

    @abstractmethod
    def decode(self, offsets: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [n, 4] that offsets [n, 4] from anchors [n, 4] stand for: x1, y1, x2, y2 in pixels."""

    @abstractmethod
    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the offsets [n, 4] that `decode` turns into boxes [n, 4], given their anchors [n, 4]."""

    def boxes(self, offsets: Tensor) -> Tensor:
        """Decode offsets [B, A, 4] of all anchors into boxes within the image, float32 [B, A, 4]."""
        boxes = self.decode(offsets.reshape(-1, 4), self.anchors.repeat(len(offsets), 1))
        inside: Tensor = clip_boxes_to_image(boxes, self.size)
        return inside.reshape(offsets.shape)

    @abstractmethod
    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits [..., L] into distributions over the background and the classes, [..., C + 1]."""

    @abstractmethod
    def mirror(self, predictions: Predictions) -> Predictions:
        """Turn the predictions on horizontally flipped images into what they say of the unflipped ones."""

    @abstractmethod
    def detect(
        self, predictions: Predictions, score_threshold: float, nms_iou: float, max_detections: int
    ) -> list[Detections]:
        """Decode predictions and suppress overlaps, an entry an image."""

    def parameter_groups(self, config: TrainingConfig) -> list[dict[str, Any]]:
        """Return the trained parameters in groups, as torch's optimisers take them.

        Weight decay applies neither to biases nor to normalisation layers. A detector may have other groups, such as
        one with the backbone and a smaller `lr`, its peak learning rate.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [
            {"params": [parameter for parameter in trained if parameter.ndim > 1]},
            {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def note_quality(self, predictions: Predictions, targets: Targets, matched: Tensor) -> None:
        """Tell `class_quality` of a batch's anchors, matched [B, A] as `match` does; nothing outside of training."""
        if not self.training:
            return
        image, anchor = (matched >= 0).nonzero(as_tuple=True)
        box = matched[image, anchor]
        labels = targets.labels[image, box]
        distributions = self.class_probabilities(predictions.logits[image, anchor])
        found = self.decode(predictions.offsets[image, anchor], self.anchors[anchor])
        overlaps = paired_iou(found, targets.boxes[image, box])
        self.class_quality.update(distributions.gather(1, labels[:, None] + 1)[:, 0], overlaps, labels)

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Take pre-trained weights, by torchvision's names; raises KeyError or RuntimeError where they do not fit."""
        raise KeyError(f"{type(self).__name__} has no backbone of torchvision's")


def full_precision(predictions: Predictions) -> Predictions:
    """Return predictions in float32 where they come from half precision, for what is computed of them."""
    return Predictions(*(part.float() if part.dtype.itemsize < 4 else part for part in predictions))


def laid_out(images: Tensor) -> Tensor:
    """Return images with channels last in memory on a GPU, and first on a CPU.

    There, with channels last, the backward pass of wide convolutions takes nearly twice as long; that of `small_ssd`
    does not.
    """
    return images.contiguous(memory_format=torch.channels_last if images.is_cuda else torch.contiguous_format)


def pooled(maps: Sequence[Tensor]) -> Tensor:
    """Return the pooled backbone features of images, float32 [B, F]: the averages, then the maxima of each map."""
    return torch.cat([m.mean((2, 3)) for m in maps] + [m.amax((2, 3)) for m in maps], dim=1)
