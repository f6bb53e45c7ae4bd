"""The multibox loss of SSD for a whole batch at once (Liu et al. 2016, section 2.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection._utils import encode_boxes

from mgral.compute.distributed import mean_over_processes
from mgral.models.interface import Predictions, Targets

MATCHED_PAIRS = 2**18
"""Pairs of box and anchor looked at together: what a processor's cache holds."""


def match_anchors(anchors: Tensor, targets: Targets, iou_threshold: float) -> Tensor:
    """Match each anchor to a box, as torchvision's SSDMatcher does an image at a time.

    Parameters
    ----------
    anchors
        float32 [A, 4], x1, y1, x2, y2 in pixels.
    targets
        The boxes of B images, padded to M.
    iou_threshold
        Overlap from which an anchor is matched; the best anchor of a box always is.

    Returns
    -------
    int64 [B, A], the index of the box in its image, or -1 for background.
    """
    batch, most = targets.labels.shape
    if most == 0:
        return torch.full((batch, len(anchors)), -1, dtype=torch.int64, device=anchors.device)
    images = max(1, MATCHED_PAIRS // (most * len(anchors)))
    parts = zip(torch.split(targets.boxes, images), torch.split(targets.labels, images), strict=True)
    return torch.cat([_match(anchors, boxes, labels >= 0, iou_threshold) for boxes, labels in parts])


def _match(anchors: Tensor, boxes: Tensor, valid: Tensor, iou_threshold: float) -> Tensor:
    iou = pairwise_iou(boxes, anchors)
    matched = torch.full((len(boxes), len(anchors)), -1, dtype=torch.int64, device=boxes.device)
    # On a CPU amax takes a tenth of the time of max or argmax: few anchors need to know which box is theirs.
    image, anchor = (iou.amax(dim=1) >= iou_threshold).nonzero(as_tuple=True)
    matched[image, anchor] = iou[image, :, anchor].argmax(dim=1)
    # Where two boxes share their best anchor the later one keeps it, as in torchvision; amax makes that
    # independent of the order in which a GPU writes.
    best_anchor = iou.argmax(dim=2)
    index = torch.arange(valid.shape[1], device=boxes.device).expand_as(valid)
    forced = torch.full_like(matched, -1).scatter_reduce(1, best_anchor, torch.where(valid, index, -1), "amax")
    return torch.where(forced >= 0, forced, matched)


def pairwise_iou(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return [B, M, A]; a coordinate at a time, as a last dimension of two, as in `box_iou`, is slow on a CPU."""
    x1, y1, x2, y2 = boxes[..., None].unbind(2)
    left, top, right, bottom = anchors.t().contiguous().unbind(0)
    width = torch.minimum(x2, right).sub_(torch.maximum(x1, left)).clamp_(min=0)
    height = torch.minimum(y2, bottom).sub_(torch.maximum(y1, top)).clamp_(min=0)
    intersection = width.mul_(height)
    areas = (x2 - x1) * (y2 - y1) + (right - left) * (bottom - top)
    return intersection.div_(areas.sub_(intersection))


def multibox_loss(
    predictions: Predictions,
    anchors: Tensor,
    targets: Targets,
    matched: Tensor,
    negatives_per_positive: float,
    box_weights: tuple[float, float, float, float],
) -> Tensor:
    """Smooth L1 on matched anchors plus cross-entropy on them and on the hardest background anchors.

    The same number as torchvision's `SSD.compute_loss`, without its loop over images. In several processes it is
    divided by the mean of their matched anchors, so that the mean of their losses is that of the whole batch.
    """
    foreground = matched >= 0
    image, anchor = foreground.nonzero(as_tuple=True)
    box = matched[image, anchor]
    goal = encode_boxes(targets.boxes[image, box], anchors[anchor], torch.tensor(box_weights, device=anchors.device))
    box_loss = F.smooth_l1_loss(predictions.offsets[image, anchor], goal, reduction="sum")

    negatives = _hardest_background(predictions.logits, foreground, negatives_per_positive)
    logits = torch.cat([predictions.logits[image, anchor], predictions.logits[negatives]])
    classes = torch.zeros(len(logits), dtype=torch.int64, device=anchors.device)
    classes[: len(image)] = targets.labels[image, box] + 1
    class_loss = F.cross_entropy(logits, classes, reduction="sum")
    matches = mean_over_processes(torch.tensor(len(image), device=anchors.device))
    return (box_loss + class_loss) / torch.where(matches > 0, matches, 1)


@torch.no_grad()
def _hardest_background(logits: Tensor, foreground: Tensor, negatives_per_positive: float) -> tuple[Tensor, Tensor]:
    """Return image and anchor of those that count as background: in each image the worst, so many a positive.

    Only these and the positives need a gradient, and they are few among thousands of anchors.
    """
    # The odds against background rank anchors as the cross-entropy log(1 + odds) does, at a third of the time.
    odds = (logits[..., 1:] - logits[..., :1]).exp_() @ logits.new_ones(logits.shape[-1] - 1)
    odds.masked_fill_(foreground, -1)
    wanted = (negatives_per_positive * foreground.sum(1, keepdim=True)).clamp(max=odds.shape[1])
    worst, anchor = odds.topk(int(wanted.max().ceil()), dim=1)
    rank = torch.arange(worst.shape[1], device=odds.device)
    image, place = ((rank < wanted) & (worst >= 0)).nonzero(as_tuple=True)
    return image, anchor[image, place]
