"""The loss of RetinaNet for a complete batch at once (Lin et al. 2017, section 4)."""

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from torchvision.ops import sigmoid_focal_loss

from mgral.compute.device import fixed_shapes
from mgral.compute.distributed import mean_over_processes
from mgral.models.boxes import encode
from mgral.models.interface import LOGITS_AT_ONCE, Predictions, Targets, of_anchors
from mgral.models.multibox import images_at_once, pairwise_iou

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.4
"""IoU from which an anchor is matched, and below which it is background; anchors in between are ignored."""
BACKGROUND, IGNORED = -1, -2
UNWEIGHTED = (1.0, 1.0, 1.0, 1.0)
"""Factors of the four offsets in RetinaNet."""


def match_anchors(anchors: Tensor, targets: Targets) -> Tensor:
    """Match each anchor to a box, as torchvision's Matcher does with low-quality matches, for all images at once.

    Returns
    -------
    int64 [B, A], the index of the box in its image, BACKGROUND or IGNORED.
    """
    batch, max_boxes = targets.labels.shape
    if max_boxes == 0:
        return torch.full((batch, len(anchors)), BACKGROUND, device=anchors.device)
    parts = images_at_once(targets, len(anchors))
    return torch.cat([_match(anchors, boxes, labels >= 0) for boxes, labels in parts])


def _match(anchors: Tensor, boxes: Tensor, valid: Tensor) -> Tensor:
    iou = torch.where(valid[..., None], pairwise_iou(boxes, anchors), -1)
    best, box = iou.max(dim=1)
    matched = torch.where(best >= FOREGROUND_IOU, box, IGNORED)
    matched = torch.where(best < BACKGROUND_IOU, BACKGROUND, matched)
    # Low-quality matches: an anchor that no other exceeds for some box is matched, but to the anchor's own best box.
    low_quality = ((iou == iou.amax(dim=2, keepdim=True)) & valid[..., None]).any(dim=1)
    return torch.where(low_quality, box, matched)


def retinanet_loss(predictions: Predictions, anchors: Tensor, targets: Targets, matched: Tensor) -> Tensor:
    """Return focal loss on all anchors but the ignored ones plus L1 loss on matched ones, a scalar.

    The loss of an image is divided by its number of matches, and their sum by the number of images, as in
    torchvision's `RetinaNet.compute_loss`. In several processes the divisor is the mean number of their images, so
    that the mean of their losses is that of the complete batch.
    """
    foreground = matched >= 0
    match_counts = foreground.sum(1).clamp(min=1)
    if fixed_shapes(matched.device):
        boxes, classes = of_anchors(targets, matched)
        labels = torch.where(foreground, classes, -1)
        target_offsets = encode(boxes, anchors, UNWEIGHTED)
        target_offsets = torch.where(foreground[..., None], target_offsets, predictions.offsets.detach())
        box_loss = ((predictions.offsets - target_offsets).abs().sum((1, 2)) / match_counts).sum()
    else:
        image, anchor = foreground.nonzero(as_tuple=True)
        box = matched[image, anchor]
        labels = torch.full_like(matched, -1)
        labels[image, anchor] = targets.labels[image, box]
        target_offsets = encode(targets.boxes[image, box], anchors[anchor], UNWEIGHTED)
        distance = (predictions.offsets[image, anchor] - target_offsets).abs().sum(1)
        box_loss = (distance / match_counts[image]).sum()

    chunk = max(1, LOGITS_AT_ONCE // predictions.logits[0].numel())
    chunks = (torch.split(tensor, chunk) for tensor in (predictions.logits, labels, matched != IGNORED))
    class_losses = [
        checkpoint(_focal_losses, *part, use_reentrant=False, preserve_rng_state=False)
        for part in zip(*chunks, strict=True)
    ]
    images = mean_over_processes(torch.full((), len(matched), device=anchors.device))
    loss: Tensor = (box_loss + (torch.cat(class_losses) / match_counts).sum()) / images
    return loss


def _focal_losses(logits: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Return the focal loss of each image [B], given logits [B, A, C] and labels [B, A], -1 for background."""
    one_hot = (labels[..., None] == torch.arange(logits.shape[-1], device=labels.device)).to(logits.dtype)
    losses: Tensor = sigmoid_focal_loss(logits, one_hot)
    return (losses * counted[..., None]).sum((1, 2))
