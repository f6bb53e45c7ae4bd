"""Random changes of a whole batch at once; the boxes follow."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.config import AugmentationConfig
from mgral.detectors import Targets

SMALLEST_VISIBLE_PART = 0.3
"""A box of which a zoom leaves less than this part inside the image is no longer an object to find."""
FILL = 117.0
"""Grey level of what lies outside a zoomed-out image."""


def augment(
    images: Tensor, targets: Targets, config: AugmentationConfig, generator: torch.Generator
) -> tuple[Tensor, Targets]:
    """Flip, zoom and recolour each image independently.

    Parameters
    ----------
    images
        uint8 [B, 3, H, W].
    targets
        Boxes in pixels of the images.

    Returns
    -------
    float32 [B, 3, H, W] in 0..255, and the boxes that are still visible.
    """
    flipped = torch.rand(len(images), generator=generator) < config.flip
    mirrored, targets = flip(images, targets, flipped)
    changed = mirrored.float()
    if config.zoom_in > 1 or config.zoom_out > 1:
        changed, targets = _zoom(changed, targets, config.zoom_in, config.zoom_out, generator)
    if config.colour > 0:
        changed = _recolour(changed, config.colour, generator)
    return changed, targets


def flip(images: Tensor, targets: Targets, chosen: Tensor) -> tuple[Tensor, Targets]:
    """Mirror the `chosen` (bool [B]) images and their boxes horizontally."""
    width = images.shape[3]
    mirrored = torch.where(chosen[:, None, None, None], images.flip(3), images)
    x1, y1, x2, y2 = targets.boxes.unbind(-1)
    real = (targets.labels >= 0) & chosen[:, None]
    boxes = torch.stack([torch.where(real, width - x2, x1), y1, torch.where(real, width - x1, x2), y2], dim=-1)
    return mirrored, Targets(boxes, targets.labels)


def _zoom(
    images: Tensor, targets: Targets, zoom_in: float, zoom_out: float, generator: torch.Generator
) -> tuple[Tensor, Targets]:
    count, _, height, width = images.shape
    smallest, largest = -math.log(zoom_out), math.log(zoom_in)
    zoom = torch.exp(smallest + torch.rand(count, generator=generator) * (largest - smallest))
    # In the output's -1..1 coordinates the image is zoom wide, so its centre may lie |1 - zoom| off the middle.
    centre = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - zoom).abs()[:, None]
    # What F.affine_grid would make, a coordinate at a time, which takes a fifth of its time.
    x, y = (_pixel_centres(size) for size in (width, height))
    source_x, source_y = ((line - centre[:, i, None]) / zoom[:, None] for i, line in enumerate((x, y)))
    grid = torch.stack([source_x[:, None].expand(-1, height, -1), source_y[:, :, None].expand(-1, -1, width)], dim=-1)
    zoomed = F.grid_sample(images - FILL, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + FILL

    half = torch.tensor([width, height, width, height]) / 2
    moved = targets.boxes - half
    moved = moved * zoom[:, None, None] + half + (centre.repeat(1, 2) * half)[:, None]
    clipped = torch.minimum(moved.clamp(min=0), half * 2)
    visible = (clipped[..., 2:] - clipped[..., :2]).clamp(min=0).prod(-1)
    whole = (moved[..., 2:] - moved[..., :2]).prod(-1)
    kept = (targets.labels >= 0) & (visible >= SMALLEST_VISIBLE_PART * whole) & (visible > 1)
    return zoomed, Targets(clipped * kept[..., None], torch.where(kept, targets.labels, -1))


def _pixel_centres(size: int) -> Tensor:
    return (torch.arange(size) * 2 + 1) / size - 1


def _recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    brightness, contrast, saturation = (1 + strength * (torch.rand(3, len(images), generator=generator) * 2 - 1))[
        :, :, None, None, None
    ].unbind(0)
    grey = images.mean(1, keepdim=True)
    level = grey.mean((2, 3), keepdim=True)
    coloured = (images - grey) * saturation + grey
    return (((coloured - level) * contrast + level) * brightness).clamp_(0, 255)
