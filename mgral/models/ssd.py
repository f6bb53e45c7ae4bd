"""Base classes of detectors with torchvision's SSD: its loss and class probabilities, and SSD on a pyramid."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.ssd import SSD

from mgral.models.boxes import decode, encode
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.models.multibox import match_anchors, multibox_loss
from mgral.models.pyramid import CentredAnchors, anchor_generator
from mgral.models.quality import ClassQuality

MATCH_IOU = 0.4
"""IoU from which an anchor is matched to a box. With SSD's 0.5 many small boxes have only one anchor."""
BACKGROUND_BIAS = 4.0
"""Initial bias of the background's logit, as nearly all anchors are background (RetinaNet, Lin et al. 2017, section
4.1). Without it a short training spends its first iterations on learning this."""


class TorchvisionSSD(DenseModel):
    """Torchvision's SSD on images of one size, with its loss done for the complete batch at once."""

    ssd: SSD

    @property
    def pretrained(self) -> nn.Module:
        """The backbone."""
        backbone: nn.Module = self.ssd.backbone
        return backbone

    def loss(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return the multibox loss of a batch."""
        matched = self.match(targets)
        self.note_quality(predictions, targets, matched)
        return multibox_loss(
            predictions,
            self.anchors,
            targets,
            matched,
            self.ssd.neg_to_pos_ratio,
            self.ssd.box_coder.weights,
        )

    def match(self, targets: Targets) -> Tensor:
        """Match each anchor to a box, or to none: -1."""
        return match_anchors(self.anchors, targets, self.ssd.proposal_matcher.high_threshold)

    def decode(self, offsets: Tensor, anchors: Tensor) -> Tensor:
        """Decode with torchvision's weights."""
        return decode(offsets, anchors, self.ssd.box_coder.weights)

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Encode with torchvision's weights."""
        return encode(boxes, anchors, self.ssd.box_coder.weights)

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over background and classes."""
        return F.softmax(logits, dim=-1)


class PyramidSSD(CentredAnchors, TorchvisionSSD):
    """Torchvision's SSD on a feature pyramid, for images of any size."""

    def __init__(
        self,
        pyramid: nn.Module,
        size: tuple[int, int],
        classes: int,
        scales: Sequence[float],
        ratios: Sequence[float],
    ) -> None:
        """Take a network with `out_channels`, and the anchors of its maps as `anchor_generator` does."""
        super().__init__()
        self.class_quality = ClassQuality(classes)
        self.size = size
        self.ssd = SSD(
            pyramid,
            anchor_generator(scales, ratios),
            size=(size[1], size[0]),  # which its input transform takes for width and height
            num_classes=classes + 1,
            iou_thresh=MATCH_IOU,
        )
        for convolution in self.ssd.head.classification_head.module_list:
            nn.init.constant_(convolution.bias.view(-1, classes + 1)[:, 0], BACKGROUND_BIAS)
        self.to(memory_format=torch.channels_last)
        self.lay_anchors(self.ssd.anchor_generator)

    def predict(self, maps: list[Tensor]) -> Predictions:
        """Predict every anchor; see `DenseModel.predict`."""
        head = self.ssd.head
        logits, offsets = [], []
        # Both heads read the same map: one convolution with the filters of both costs less than two.
        for feature_map, to_logits, to_offsets in zip(
            maps, head.classification_head.module_list, head.regression_head.module_list, strict=True
        ):
            weight = torch.cat([to_logits.weight, to_offsets.weight])
            predicted = F.conv2d(feature_map, weight, torch.cat([to_logits.bias, to_offsets.bias]), padding=1)
            parts = predicted.permute(0, 2, 3, 1).tensor_split([len(to_logits.bias)], dim=3)
            logits.append(parts[0].reshape(feature_map.shape[0], -1, head.classification_head.num_columns))
            offsets.append(parts[1].reshape(feature_map.shape[0], -1, head.regression_head.num_columns))
        return Predictions(torch.cat(logits, 1), torch.cat(offsets, 1))
