"""Intersection over union (IoU) of boxes."""

import numpy as np
import numpy.typing as npt

OVERLAP = 0.5
"""IoU from which two boxes are taken to be of the same object."""

Array = npt.NDArray[np.float64]


def overlaps(first: Array, second: Array) -> Array:
    """Return intersection over union, [n, m], of boxes [n, 4] and [m, 4]: x, y, width, height."""
    starts = np.maximum(first[:, None, :2], second[:, :2])
    ends = np.minimum(first[:, None, :2] + first[:, None, 2:], second[:, :2] + second[:, 2:])
    intersection = (ends - starts).clip(min=0).prod(axis=2)
    union = first[:, 2:].prod(axis=1)[:, None] + second[:, 2:].prod(axis=1) - intersection
    iou: Array = intersection / np.maximum(union, np.spacing(1))
    return iou


def pairs(first: Array, second: Array) -> int:
    """Return how many boxes [n, 4] have a partner among others [m, 4]: the largest IoU first, down to `OVERLAP`."""
    ious = overlaps(first, second)
    count = 0
    while ious.size and ious.max() >= OVERLAP:
        row, column = np.unravel_index(ious.argmax(), ious.shape)
        ious[row], ious[:, column] = -1, -1
        count += 1
    return count
