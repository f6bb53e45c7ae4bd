"""The changes of an image under which CALD asks a detector for the same objects, at one size; the boxes follow.

The changes are those of the paper: horizontal flip, cut-out, shrinking and rotation. torchvision does to boxes what
it does to images: a rotated box becomes the box that encloses its corners.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes

from mgral.data.images import FILL

VIEWS = 4
"""Ways to change an image."""
SHRUNK = 0.8
"""Sides of what is left of a shrunk image."""
ANGLE = 5.0
"""Degrees that an image is rotated by, counter-clockwise."""
PATCHES = 2
"""Rectangles cut out of an image, at most."""
TRIES = 50
PATCH_SIDES = (0.05, 0.2)
"""Smallest and largest sides of a rectangle that is cut out, relative to the image."""
PATCH_COVERS = (0.1, 0.4)
"""Least and largest part of a box that a patch covers; otherwise it is drawn again, so that objects stay visible."""


def views(images: Tensor, boxes: Sequence[Tensor], seeds: Sequence[int]) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield images changed in each way, one after the other, and where the boxes lie then.

    Parameters
    ----------
    images
        [B, 3, H, W] in 0..255.
    boxes
        Boxes of each image, float32 [n, 4]: x1, y1, x2, y2 in pixels.
    seeds
        Seed of each image, for the rectangles that are cut out.

    Yields
    ------
    float32 [B, 3, H, W] in 0..255, and boxes as given.
    """
    images = images.float()
    for change in (flip, shrink, rotate):
        yield change(images), [_move(image_boxes, images, change) for image_boxes in boxes]
    cut_images = images.clone()
    for image, image_boxes, seed in zip(cut_images, boxes, seeds, strict=True):
        cut_out(image, image_boxes, seed)
    yield cut_images, list(boxes)


def flip(inputs: Tensor) -> Tensor:
    """Mirror images, or boxes as torchvision's BoundingBoxes."""
    return F.horizontal_flip(inputs)  # type: ignore[no-any-return]


def shrink(inputs: Tensor) -> Tensor:
    """Shrink images or boxes into the upper left, and leave the rest of their canvas empty.

    In the published code the image itself becomes smaller, which the detector there then enlarges again.
    """
    height, width = F.get_size(inputs)
    inner_size = [round(SHRUNK * height), round(SHRUNK * width)]
    shrunk: Tensor = F.resize(inputs, inner_size)
    return F.pad(shrunk, [0, 0, width - inner_size[1], height - inner_size[0]], fill=list(FILL))  # type: ignore[no-any-return]


def rotate(inputs: Tensor) -> Tensor:
    """Rotate images or boxes, and fit the result to their size, so that nothing is cut off."""
    size = F.get_size(inputs)
    rotated = F.rotate(inputs, ANGLE, InterpolationMode.BILINEAR, expand=True, fill=list(FILL))
    return F.resize(rotated, size)  # type: ignore[no-any-return]


def cut_out(image: Tensor, boxes: Tensor, seed: int) -> None:
    """Fill up to two random rectangles of an image [3, H, W], in place, which hide a part of an object."""
    fill = torch.tensor(FILL, dtype=image.dtype, device=image.device)[:, None, None]
    for x1, y1, x2, y2 in _patches(boxes.cpu().numpy(), image.shape[2], image.shape[1], seed).tolist():
        image[:, y1:y2, x1:x2] = fill


def _patches(boxes: npt.NDArray[np.float32], width: int, height: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw x1, y1, x2, y2 of rectangles in pixels, [PATCHES or fewer, 4]; none where there is no box."""
    rng = np.random.default_rng(seed)
    sides = rng.uniform(*PATCH_SIDES, (TRIES, 2))
    corners = rng.random((TRIES, 2)) * (1 - sides)
    patches = (np.concatenate([corners, corners + sides], axis=1) * (width, height, width, height)).astype(np.int64)
    top_left, bottom_right = (
        np.maximum(patches[:, None, :2], boxes[:, :2]),
        np.minimum(patches[:, None, 2:], boxes[:, 2:]),
    )
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).clip(min=1)
    covered = ((bottom_right - top_left).clip(min=0).prod(axis=2) / areas).max(axis=1, initial=0)
    smallest, largest = PATCH_COVERS
    accepted: npt.NDArray[np.int64] = patches[(covered >= smallest) & (covered <= largest)][:PATCHES]
    return accepted


def _move(boxes: Tensor, images: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    canvas = (images.shape[2], images.shape[3])
    return change(BoundingBoxes(boxes, format="XYXY", canvas_size=canvas)).as_subclass(Tensor)
