"""What the detectors have in common that are torchvision's SSD: loss, class probabilities, detections."""

import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.ssd import SSD

from mgral.models.interface import Detections, Detector, Predictions, Targets
from mgral.models.multibox import match_anchors, multibox_loss


class TorchvisionSSD(Detector):
    """Torchvision's SSD on images of one size, with its loss done for the whole batch at once."""

    ssd: SSD

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

    def detect(
        self, predictions: Predictions, score_threshold: float, nms_iou: float, max_detections: int
    ) -> list[Detections]:
        """Decode by torchvision's own post-processing."""
        self.ssd.score_thresh, self.ssd.nms_thresh = score_threshold, nms_iou
        self.ssd.detections_per_img = max_detections
        count = len(predictions.logits)
        found = self.ssd.postprocess_detections(
            {"cls_logits": predictions.logits, "bbox_regression": predictions.offsets},
            [self.anchors] * count,
            [self.size] * count,
        )
        return [Detections(one["boxes"], one["scores"], one["labels"] - 1) for one in found]
