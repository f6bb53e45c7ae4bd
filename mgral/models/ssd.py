"""What the detectors have in common that are torchvision's SSD: loss and class probabilities."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.ssd import SSD

from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.models.multibox import match_anchors, multibox_loss


class TorchvisionSSD(DenseModel):
    """Torchvision's SSD on images of one size, with its loss done for the whole batch at once."""

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
        """Decode by torchvision's coder."""
        boxes: Tensor = self.ssd.box_coder.decode_single(offsets, anchors)
        return boxes

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Encode by torchvision's coder."""
        offsets: Tensor = self.ssd.box_coder.encode_single(boxes, anchors)
        return offsets

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over background and classes."""
        return F.softmax(logits, dim=-1)
