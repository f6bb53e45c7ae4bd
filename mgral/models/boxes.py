"""Boxes as offsets from anchors, and back (Girshick et al., *R-CNN*, 2014, appendix C).

The same numbers as torchvision's `BoxCoder`, bit for bit, by a third of its operators, each of which a GPU is told
to do. Its own also copies a constant to the GPU, and waits for it.
"""

import math

import torch
from torch import Tensor

LARGEST = math.log(1000 / 16)
"""Of the logarithm of a box's side in sides of its anchor, as torchvision has it."""
Weights = tuple[float, float, float, float]
"""Factors of dx, dy, dw and dh; those of a pair are equal."""


def encode(boxes: Tensor, anchors: Tensor, weights: Weights) -> Tensor:
    """Return the offsets [..., 4] that `decode` turns into boxes [..., 4], x1, y1, x2, y2, given their anchors."""
    size, wanted = _size(anchors), _size(boxes)
    centre = weights[0] * (_centre(boxes, wanted) - _centre(anchors, size)) / size
    return torch.cat([centre, weights[2] * torch.log(wanted / size)], dim=-1)


def decode(offsets: Tensor, anchors: Tensor, weights: Weights) -> Tensor:
    """Return the boxes [..., 4] that offsets from anchors stand for; anchors may lack the first dimensions."""
    size = _size(anchors)
    middle = offsets[..., :2] / weights[0] * size + _centre(anchors, size)
    half = 0.5 * (torch.exp((offsets[..., 2:] / weights[2]).clamp(max=LARGEST)) * size)
    return torch.cat([middle - half, middle + half], dim=-1)


def _size(boxes: Tensor) -> Tensor:
    return boxes[..., 2:] - boxes[..., :2]


def _centre(boxes: Tensor, size: Tensor) -> Tensor:
    return boxes[..., :2] + 0.5 * size
