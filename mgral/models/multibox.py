"""The multibox loss of SSD for a complete batch at once (Liu et al. 2016, section 2.2)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.compute.device import fixed_shapes
from mgral.compute.distributed import mean_over_processes
from mgral.models.boxes import Weights, encode
from mgral.models.interface import Predictions, Targets, of_anchors

MATCHED_PAIRS = 2**18
"""Pairs of box and anchor that are processed at once on a CPU, so that they fit into its cache."""
PAIRS_ON_A_GPU = 2**24
"""Pairs that are processed at once on a GPU, where few kernel launches matter; a tensor of them takes 64 MiB."""
MOST_NEGATIVES = 4096
"""Largest number of background anchors of an image that count on a GPU, where shapes are fixed: as many as one kernel
sorts. Further ones would hardly change the loss."""


def match_anchors(anchors: Tensor, targets: Targets, iou_threshold: float) -> Tensor:
    """Match each anchor to a box, as torchvision's SSDMatcher does, but for all images at once.

    Parameters
    ----------
    anchors
        float32 [A, 4], x1, y1, x2, y2 in pixels.
    targets
        The boxes of B images, padded to M.
    iou_threshold
        IoU from which an anchor is matched; the best anchor of a box is matched always.

    Returns
    -------
    int64 [B, A], the index of the box in its image, or -1 for background.
    """
    batch, max_boxes = targets.labels.shape
    if max_boxes == 0:
        return torch.full((batch, len(anchors)), -1, dtype=torch.int64, device=anchors.device)
    parts = images_at_once(targets, len(anchors))
    return torch.cat([_match(anchors, boxes, labels >= 0, iou_threshold) for boxes, labels in parts])


def images_at_once(targets: Targets, anchors: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield boxes and labels in parts of a few images, which are matched to all anchors at once."""
    pairs = PAIRS_ON_A_GPU if fixed_shapes(targets.boxes.device) else MATCHED_PAIRS
    images = max(1, pairs // (targets.labels.shape[1] * anchors))
    return zip(torch.split(targets.boxes, images), torch.split(targets.labels, images), strict=True)


def _match(anchors: Tensor, boxes: Tensor, valid: Tensor, iou_threshold: float) -> Tensor:
    iou = pairwise_iou(boxes, anchors)
    if fixed_shapes(boxes.device):
        best, box = iou.max(dim=1)
        matched = torch.where(best >= iou_threshold, box, -1)
    else:
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
    """Return the IoU of boxes [B, M, 4] with anchors [A, 4], each with each, [B, M, A].

    Each coordinate is a tensor of its own: a last dimension of two, as in torchvision's `box_iou`, is slow on a CPU.
    """
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
    box_weights: Weights,
) -> Tensor:
    """Return smooth L1 loss on matched anchors plus cross-entropy on these and the hardest background anchors.

    It is a scalar, divided by the number of matched anchors, as in torchvision's `SSD.compute_loss`, but without a
    loop over images. In several processes the divisor is the mean of their numbers, so that the mean of their losses
    is that of the complete batch.
    """
    compute_sums = _sums_of_all if fixed_shapes(matched.device) else _sums_of_counted
    loss, matches = compute_sums(predictions, anchors, targets, matched, negatives_per_positive, box_weights)
    matches = mean_over_processes(matches)
    return loss / torch.where(matches > 0, matches, 1)


def _sums_of_counted(
    predictions: Predictions,
    anchors: Tensor,
    targets: Targets,
    matched: Tensor,
    negatives_per_positive: float,
    box_weights: Weights,
) -> tuple[Tensor, Tensor]:
    """Return the loss before the division, and the number of matched anchors, from the anchors that count only.

    These are few among thousands, so the gradient is computed for few anchors.
    """
    foreground = matched >= 0
    image, anchor = foreground.nonzero(as_tuple=True)
    box = matched[image, anchor]
    target_offsets = encode(targets.boxes[image, box], anchors[anchor], box_weights)
    box_loss = F.smooth_l1_loss(predictions.offsets[image, anchor], target_offsets, reduction="sum")

    negative, worst = _hardest_background(predictions.logits, foreground, negatives_per_positive)
    negative_image, rank = negative.nonzero(as_tuple=True)
    logits = torch.cat(
        [predictions.logits[image, anchor], predictions.logits[negative_image, worst[negative_image, rank]]]
    )
    classes = torch.zeros(len(logits), dtype=torch.int64, device=anchors.device)
    classes[: len(image)] = targets.labels[image, box] + 1
    class_loss = F.cross_entropy(logits, classes, reduction="sum")
    return box_loss + class_loss, torch.tensor(len(image))


def _sums_of_all(
    predictions: Predictions,
    anchors: Tensor,
    targets: Targets,
    matched: Tensor,
    negatives_per_positive: float,
    box_weights: Weights,
) -> tuple[Tensor, Tensor]:
    """Return what `_sums_of_counted` does, from all anchors, some with a loss of zero, so that shapes are fixed."""
    foreground = matched >= 0
    boxes, labels = of_anchors(targets, matched)
    target_offsets = encode(boxes, anchors, box_weights)
    target_offsets = torch.where(foreground[..., None], target_offsets, predictions.offsets.detach())
    box_loss = F.smooth_l1_loss(predictions.offsets, target_offsets, reduction="sum")

    negative, worst = _hardest_background(predictions.logits, foreground, negatives_per_positive)
    counted = foreground | torch.zeros_like(foreground).scatter_(1, worst, negative)
    classes = torch.where(foreground, labels + 1, 0)
    class_losses = F.cross_entropy(predictions.logits.flatten(0, 1), classes.flatten(), reduction="none")
    return box_loss + torch.where(counted.flatten(), class_losses, 0).sum(), foreground.sum()


@torch.no_grad()
def _hardest_background(logits: Tensor, foreground: Tensor, negatives_per_positive: float) -> tuple[Tensor, Tensor]:
    """Return which of the K hardest background anchors of each image count, bool [B, K], and their indices [B, K].

    The hardest are first. `negatives_per_positive` times as many count as the image has matched anchors.
    """
    # The odds against background rank anchors as the cross-entropy log(1 + odds) does, at a third of the time.
    odds = (logits[..., 1:] - logits[..., :1]).exp_() @ logits.new_ones(logits.shape[-1] - 1)
    odds.masked_fill_(foreground, -1)
    negative_counts = (negatives_per_positive * foreground.sum(1, keepdim=True)).clamp(max=odds.shape[1])
    fixed = fixed_shapes(odds.device)
    worst, anchor = odds.topk(
        min(MOST_NEGATIVES, odds.shape[1]) if fixed else int(negative_counts.max().ceil()), dim=1
    )
    rank = torch.arange(worst.shape[1], device=odds.device)
    return (rank < negative_counts) & (worst >= 0), anchor
