"""Random changes of a complete batch at once; the boxes follow."""

import math
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.compute.device import constant
from mgral.config import AugmentationConfig
from mgral.config.canvas import Canvas
from mgral.models.interface import Targets
from mgral.models.view import WHOLE, sample_windows
from mgral.training.crops import distort, draw_distortions, draw_windows, in_sides, move_boxes

SMALLEST_VISIBLE_PART = 0.3
"""A box of which a zoom leaves less than this part inside the image is no longer an object to find."""
FILL = 117.0
"""Grey level of what lies outside a zoomed-out image."""


class Changes(NamedTuple):
    """Random changes of B images, drawn for each image separately; None means that no image has this change."""

    flipped: Tensor
    """bool [B]."""
    zoom: Tensor | None
    """float32 [B, 3]: the factor, and where the centre comes to lie, x and y, in -1..1 of the image."""
    colour: Tensor | None
    """float32 [B, 3]: factors of brightness, contrast and saturation."""
    windows: Tensor | None = None
    """float32 [B, 4]: what is shown of each image, see `crops.draw_windows`."""
    distortions: Tensor | None = None
    """float32 [B, 3, 4]: see `crops.draw_distortions`."""


def draw_changes(boxes: Targets, config: AugmentationConfig, generator: torch.Generator) -> Changes:
    """Draw changes on the CPU for the images that have these boxes, relative to the image, 0..1."""
    count = len(boxes.labels)
    flipped = torch.rand(count, generator=generator) < config.flip
    zoom = colour = windows = distortions = None
    if config.crop == "zoom" and (config.zoom_in > 1 or config.zoom_out > 1):
        smallest, largest = -math.log(config.zoom_out), math.log(config.zoom_in)
        factor = torch.exp(smallest + torch.rand(count, generator=generator) * (largest - smallest))
        # In the output's -1..1 coordinates the image is as wide as the factor: its centre may lie |1 - factor| off.
        centre = (torch.rand(count, 2, generator=generator) * 2 - 1) * (1 - factor).abs()[:, None]
        zoom = torch.cat([factor[:, None], centre], dim=1)
    if config.colour > 0:
        colour = (1 + config.colour * (torch.rand(3, count, generator=generator) * 2 - 1)).t()
    if config.crop == "iou":
        windows = draw_windows(boxes, config.expand, generator)
    if config.distort > 0:
        distortions = draw_distortions(count, config.distort, generator)
    return Changes(flipped, zoom, colour, windows, distortions)


def show_changed(
    images: Tensor, targets: Targets, covered: Tensor, canvas: Canvas, changes: Changes
) -> tuple[Tensor, Targets]:
    """Return what a detector is shown of images in training, all on one device.

    Parameters
    ----------
    images
        uint8 [B, 3, H, W], canvases.
    targets
        Boxes in pixels of the canvases.
    covered
        float32 [B, 2], what each image covers of its canvas, width and height in pixels.
    changes
        Of the same B images.

    Returns
    -------
    float32 [B, 3, h, w] in 0..255, and the boxes that are still visible, in its pixels.
    """
    if changes.distortions is not None:
        images = distort(images, changes.distortions)
    if changes.windows is not None or canvas.view:
        windows = changes.windows
        if windows is None:
            windows = constant(WHOLE, images.device).expand(len(images), 4)
        images = sample_windows(images, covered, windows, canvas.input_size)
        targets = move_boxes(in_sides(targets, covered), windows, canvas.input_size)
    return augment(images, targets, changes)


def augment(images: Tensor, targets: Targets, changes: Changes) -> tuple[Tensor, Targets]:
    """Flip, zoom and recolour images, all on one device.

    Parameters
    ----------
    images
        uint8 or float32 [B, 3, H, W], 0..255.
    targets
        Boxes in pixels of the images.
    changes
        Of the same B images.

    Returns
    -------
    float32 [B, 3, H, W] in 0..255, and the boxes that are still visible.
    """
    mirrored, targets = flip(images, targets, changes.flipped)
    changed = mirrored.float()
    if changes.zoom is not None:
        changed, targets = _zoom(changed, targets, changes.zoom)
    if changes.colour is not None:
        changed = _recolour(changed, changes.colour)
    return changed, targets


def flip(images: Tensor, targets: Targets, chosen: Tensor) -> tuple[Tensor, Targets]:
    """Mirror the `chosen` (bool [B]) images and their boxes horizontally."""
    width = images.shape[3]
    mirrored = torch.where(chosen[:, None, None, None], images.flip(3), images)
    x1, y1, x2, y2 = targets.boxes.unbind(-1)
    flipped = (targets.labels >= 0) & chosen[:, None]
    boxes = torch.stack([torch.where(flipped, width - x2, x1), y1, torch.where(flipped, width - x1, x2), y2], dim=-1)
    return mirrored, Targets(boxes, targets.labels)


def _zoom(images: Tensor, targets: Targets, changes: Tensor) -> tuple[Tensor, Targets]:
    """Scale images around centres, and drop boxes of which too little is still seen."""
    _, _, height, width = images.shape
    zoom, centre = changes[:, 0], changes[:, 1:]
    # What F.affine_grid would make, a coordinate at a time, which takes a fifth of its time.
    x, y = (_pixel_centres(size, images.device) for size in (width, height))
    source_x, source_y = ((line - centre[:, i, None]) / zoom[:, None] for i, line in enumerate((x, y)))
    grid = torch.stack([source_x[:, None].expand(-1, height, -1), source_y[:, :, None].expand(-1, -1, width)], dim=-1)
    zoomed = F.grid_sample(images - FILL, grid, mode="bilinear", padding_mode="zeros", align_corners=False) + FILL

    half_size = constant((width / 2, height / 2, width / 2, height / 2), images.device)
    moved = targets.boxes - half_size
    moved = moved * zoom[:, None, None] + half_size + (centre.repeat(1, 2) * half_size)[:, None]
    clipped = torch.minimum(moved.clamp(min=0), half_size * 2)
    visible_area = (clipped[..., 2:] - clipped[..., :2]).clamp(min=0).prod(-1)
    whole_area = (moved[..., 2:] - moved[..., :2]).prod(-1)
    kept = (targets.labels >= 0) & (visible_area >= SMALLEST_VISIBLE_PART * whole_area) & (visible_area > 1)
    return zoomed, Targets(clipped * kept[..., None], torch.where(kept, targets.labels, -1))


@cache
def _pixel_centres(size: int, device: torch.device) -> Tensor:
    """Return the centres of pixels in -1..1, from edge to edge, [size]."""
    return (torch.arange(size, device=device) * 2 + 1) / size - 1


def _recolour(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply saturation, contrast and brightness by factors [B, 3]."""
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    grey = images.mean(1, keepdim=True)
    level = grey.mean((2, 3), keepdim=True)
    coloured = (images - grey) * saturation + grey
    return (((coloured - level) * contrast + level) * brightness).clamp_(0, 255)
