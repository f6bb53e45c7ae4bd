"""Boxes as offsets from anchors, and back (Girshick et al., *R-CNN*, 2014, appendix C).

The results are those of torchvision's `BoxCoder`, bit for bit, with a third of its operators and so of its kernel
launches. `BoxCoder` also copies a constant to the GPU and waits for the copy.
"""

import math

import torch
from torch import Tensor

LARGEST = math.log(1000 / 16)
"""Largest logarithm of the ratio of a decoded box's side to its anchor's side, as in torchvision."""
Weights = tuple[float, float, float, float]
"""Factors of the offsets dx, dy, dw and dh; dx and dy have the same factor, and so have dw and dh."""


def encode(boxes: Tensor, anchors: Tensor, weights: Weights) -> Tensor:
    """Return the offsets [..., 4] of boxes [..., 4] from anchors [..., 4]; boxes are x1, y1, x2, y2 in pixels."""
    anchor_size, box_size = _size(anchors), _size(boxes)
    centre_offsets = weights[0] * (_centre(boxes, box_size) - _centre(anchors, anchor_size)) / anchor_size
    return torch.cat([centre_offsets, weights[2] * torch.log(box_size / anchor_size)], dim=-1)


def decode(offsets: Tensor, anchors: Tensor, weights: Weights) -> Tensor:
    """Return the boxes [..., 4] that have these offsets [..., 4] from anchors, which may have fewer dimensions."""
    anchor_size = _size(anchors)
    centre = offsets[..., :2] / weights[0] * anchor_size + _centre(anchors, anchor_size)
    half_size = 0.5 * (torch.exp((offsets[..., 2:] / weights[2]).clamp(max=LARGEST)) * anchor_size)
    return torch.cat([centre - half_size, centre + half_size], dim=-1)


def _size(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _centre(boxes: Tensor, size: Tensor) -> Tensor:
    return boxes[..., :2] + 0.5 * size
