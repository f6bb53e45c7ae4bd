"""What a detector is shown of cached images: their canvas as it is, or a window on each, at the detector's size."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.compute.device import constant
from mgral.config.canvas import Canvas
from mgral.data.images import FILL

WHOLE = (0.0, 0.0, 1.0, 1.0)
"""The window that shows all of an image."""


def show(images: Tensor, covered: Tensor, canvas: Canvas) -> Tensor:
    """Return images as a detector is shown them without augmentation.

    Parameters
    ----------
    images
        uint8 [B, 3, H, W], canvases.
    covered
        float32 [B, 2], what each image covers of it, width and height in pixels.

    Returns
    -------
    The same images; or where the canvas has a view, float32 [B, 3, h, w] in 0..255.
    """
    if canvas.view is None:
        return images
    windows = constant(WHOLE, images.device).expand(len(images), 4)
    return sample_windows(images, covered, windows, canvas.view)


def sample_windows(images: Tensor, covered: Tensor, windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Return what is seen in a window on each image, sampled bilinearly.

    Parameters
    ----------
    images
        [B, 3, H, W] in 0..255, canvases.
    covered
        float32 [B, 2], what each image covers of it, width and height in pixels.
    windows
        float32 [B, 4], x1, y1, x2, y2 relative to the image, 0..1. What lies beyond the image has the colour `FILL`.
    size
        Width and height of the result, in pixels.

    Returns
    -------
    float32 [B, 3, h, w] in 0..255.
    """
    grids, inside = [], []
    for axis, (pixels, side) in enumerate(zip(size, (images.shape[3], images.shape[2]), strict=True)):
        centres = _centres(pixels, images.device)
        start, end, extent = windows[:, axis, None], windows[:, axis + 2, None], covered[:, axis, None]
        position = (start + (end - start) * centres) * extent
        inside.append((position >= 0) & (position <= extent))
        # Not beyond the middle of the last pixel, where what is outside the image would be mixed in.
        position = torch.minimum(position.clamp(min=0.5), extent - 0.5)
        grids.append(position * 2 / side - 1)
    shape = len(images), size[1], size[0]
    grid = torch.stack([grids[0][:, None].expand(shape), grids[1][:, :, None].expand(shape)], dim=-1)
    sampled = F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False)
    fill = constant(tuple(map(float, FILL)), sampled.device)[:, None, None]
    return torch.where((inside[0][:, None] & inside[1][:, :, None])[:, None], sampled, fill)


@cache
def _centres(pixels: int, device: torch.device) -> Tensor:
    return (torch.arange(pixels, device=device) + 0.5) / pixels
