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
"""Pairs of box and anchor looked at together: what a processor's cache contains."""
PAIRS_ON_A_GPU = 2**24
"""The same on a GPU, where it is few launches that count: 64 MiB each time."""
MOST_NEGATIVES = 4096
"""Background anchors of an image that count at most on a GPU, where their number is fixed: the most that it sorts by
one kernel. The least of so many hardly counts."""


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
    parts = images_at_once(targets, len(anchors))
    return torch.cat([_match(anchors, boxes, labels >= 0, iou_threshold) for boxes, labels in parts])


def images_at_once(targets: Targets, anchors: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield boxes and labels of as many images as are matched to a number of anchors together."""
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
    box_weights: Weights,
) -> Tensor:
    """Smooth L1 on matched anchors plus cross-entropy on them and on the hardest background anchors.

    The same number as torchvision's `SSD.compute_loss`, without its loop over images. In several processes it is
    divided by the mean of their matched anchors, so that the mean of their losses is that of the complete batch.
    """
    sums = _sums_of_all if fixed_shapes(matched.device) else _sums_of_counted
    loss, matches = sums(predictions, anchors, targets, matched, negatives_per_positive, box_weights)
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
    """Return the loss before its division, and the matched anchors, by a gradient for the anchors that count.

    They are few among thousands.
    """
    foreground = matched >= 0
    image, anchor = foreground.nonzero(as_tuple=True)
    box = matched[image, anchor]
    goal = encode(targets.boxes[image, box], anchors[anchor], box_weights)
    box_loss = F.smooth_l1_loss(predictions.offsets[image, anchor], goal, reduction="sum")

    counted, worst = _hardest_background(predictions.logits, foreground, negatives_per_positive)
    of_image, place = counted.nonzero(as_tuple=True)
    logits = torch.cat([predictions.logits[image, anchor], predictions.logits[of_image, worst[of_image, place]]])
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
    """Return the same numbers from all anchors, those that do not count at a loss of zero: all shapes are fixed."""
    foreground = matched >= 0
    boxes, labels = of_anchors(targets, matched)
    goal = encode(boxes, anchors, box_weights)
    goal = torch.where(foreground[..., None], goal, predictions.offsets.detach())
    box_loss = F.smooth_l1_loss(predictions.offsets, goal, reduction="sum")

    negative, worst = _hardest_background(predictions.logits, foreground, negatives_per_positive)
    counted = foreground | torch.zeros_like(foreground).scatter_(1, worst, negative)
    classes = torch.where(foreground, labels + 1, 0)
    each = F.cross_entropy(predictions.logits.flatten(0, 1), classes.flatten(), reduction="none")
    return box_loss + torch.where(counted.flatten(), each, 0).sum(), foreground.sum()


@torch.no_grad()
def _hardest_background(logits: Tensor, foreground: Tensor, negatives_per_positive: float) -> tuple[Tensor, Tensor]:
    """Return anchors [B, K] of each image, those that are worst as background first, and which count, bool [B, K].

    So many a positive count.
    """
    # The odds against background rank anchors as the cross-entropy log(1 + odds) does, at a third of the time.
    odds = (logits[..., 1:] - logits[..., :1]).exp_() @ logits.new_ones(logits.shape[-1] - 1)
    odds.masked_fill_(foreground, -1)
    wanted = (negatives_per_positive * foreground.sum(1, keepdim=True)).clamp(max=odds.shape[1])
    fixed = fixed_shapes(odds.device)
    worst, anchor = odds.topk(min(MOST_NEGATIVES, odds.shape[1]) if fixed else int(wanted.max().ceil()), dim=1)
    rank = torch.arange(worst.shape[1], device=odds.device)
    return (rank < wanted) & (worst >= 0), anchor
