"""SSD's augmentation, for a complete batch at once: what it shows of an image, and in which colours.

Liu et al., *SSD: Single Shot MultiBox Detector*, ECCV 2016, section 2.2 (data augmentation) and 3.6 (expansion), with
the numbers of the authors' code where the paper names none. All is drawn on the CPU, from the boxes alone.
"""

import math

import torch
from torch import Tensor

from mgral.compute.device import constant
from mgral.models.interface import Targets

LEAST_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
"""Smallest IoU of the crop with a box whose centre is inside it; one is drawn, or the complete image."""
TRIALS = 50
"""Crops drawn for an image; if none has the overlap, the complete image is shown."""
SCALE, RATIO = (0.3, 1.0), (0.5, 2.0)
"""Square root of a crop's part of the image, and its width divided by its height, both relative to the image."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 32.0, 0.5, 0.5, math.radians(18)
"""Largest change: levels of 255, relative, relative, radians."""
LUMA = (0.299, 0.587, 0.114)


def draw_windows(boxes: Targets, expand: float, generator: torch.Generator) -> Tensor:
    """Draw what is shown of each image: a crop that overlaps a box, of an image that may have been made smaller.

    As many random numbers are drawn for every image, whatever its boxes.

    Parameters
    ----------
    boxes
        x1, y1, x2, y2, relative to the image's width and height, 0..1.
    expand
        Largest side of the canvas that the image is placed on first, relative to the image. With a probability of 0.5
        it is placed on one, whose side is uniform between 1 and this.

    Returns
    -------
    float32 [B, 4], x1, y1, x2, y2, relative to the image, beyond 0..1 where it was expanded.
    """
    count = len(boxes.labels)
    uniform = torch.rand(count, 4, generator=generator)
    side = torch.where(uniform[:, 0] < 0.5, 1 + uniform[:, 1] * (expand - 1), torch.ones(count))[:, None]
    corner = -uniform[:, 2:] * (side - 1)
    crops = _draw_crops(count, generator)
    choice = torch.randint(len(LEAST_OVERLAPS) + 1, (count,), generator=generator)
    least = torch.tensor([*LEAST_OVERLAPS, math.inf])[choice]

    valid = boxes.labels >= 0
    placed = (boxes.boxes - corner.repeat(1, 2)[:, None]) / side[:, None]
    accepted = _overlaps(crops, placed, valid, least) | (~valid.any(1) & least.isfinite())[:, None]
    first = accepted.int().argmax(1)
    crop = torch.where(accepted.any(1, keepdim=True), crops[torch.arange(count), first], torch.tensor([0.0, 0, 1, 1]))
    return corner.repeat(1, 2) + crop * side


def _draw_crops(count: int, generator: torch.Generator) -> Tensor:
    """Return [B, TRIALS, 4] inside of 0..1."""
    scale, ratio, x, y = torch.rand(4, count, TRIALS, generator=generator)
    scale = SCALE[0] + scale * (SCALE[1] - SCALE[0])
    lowest, highest = scale.square().clamp(min=RATIO[0]), scale.square().reciprocal().clamp(max=RATIO[1])
    root = (lowest + ratio * (highest - lowest)).sqrt()
    width, height = (scale * root).clamp(max=1), (scale / root).clamp(max=1)
    x, y = x * (1 - width), y * (1 - height)
    return torch.stack([x, y, x + width, y + height], dim=-1)


def _overlaps(crops: Tensor, boxes: Tensor, valid: Tensor, least: Tensor) -> Tensor:
    """Return, bool [B, TRIALS], which crops contain the centre of a box that they overlap by `least` [B] (IoU)."""
    crop, box = crops[:, :, None], boxes[:, None]
    shared = (torch.minimum(crop[..., 2:], box[..., 2:]) - torch.maximum(crop[..., :2], box[..., :2])).clamp(min=0)
    areas = [(rectangle[..., 2:] - rectangle[..., :2]).prod(-1) for rectangle in (crop, box)]
    iou = shared.prod(-1) / (areas[0] + areas[1] - shared.prod(-1))
    return (valid[:, None] & _centre_inside(box, crop) & (iou >= least[:, None, None])).any(-1)


def _centre_inside(boxes: Tensor, windows: Tensor) -> Tensor:
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    return ((centre > windows[..., :2]) & (centre < windows[..., 2:])).all(-1)


def in_sides(targets: Targets, covered: Tensor) -> Targets:
    """Return boxes in pixels of canvases as parts of the sides of their images, which cover [B, 2] pixels of them."""
    return Targets(targets.boxes / covered.repeat(1, 2)[:, None], targets.labels)


def move_boxes(boxes: Targets, windows: Tensor, size: tuple[int, int]) -> Targets:
    """Return where boxes are seen in a window on each image: those whose centre is inside it, cut at its edges.

    Parameters
    ----------
    boxes
        x1, y1, x2, y2 in sides of the image.
    windows
        float32 [B, 4], as `draw_windows` returns them.
    size
        Width and height at which the window is shown, in pixels.

    Returns
    -------
    Boxes in pixels of what is shown.
    """
    window = windows[:, None]
    kept = (boxes.labels >= 0) & _centre_inside(boxes.boxes, window)
    side = constant(tuple(map(float, size * 2)), windows.device)
    start, extent = window[..., :2].repeat(1, 1, 2), (window[..., 2:] - window[..., :2]).repeat(1, 1, 2)
    moved = torch.minimum(((boxes.boxes - start) / extent * side).clamp(min=0), side)
    return Targets(moved * kept[..., None], torch.where(kept, boxes.labels, -1))


def draw_distortions(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Draw a linear map of colours for each image: brightness, contrast, saturation and hue, each with a probability.

    Hue is turned about the grey axis and saturation is the distance to grey, so that all four are one matrix; the
    authors' code goes by HSV.

    Returns
    -------
    float32 [B, 3, 4]: RGB in 0..255 becomes matrix [:, :3] times RGB plus column 3.
    """
    applied = torch.rand(4, count, generator=generator) < probability
    brightness, contrast, saturation, hue = (torch.rand(4, count, generator=generator) * 2 - 1) * applied
    identity, average = torch.eye(3), torch.full((3, 3), 1 / 3)
    luma = torch.tensor(LUMA).expand(3, 3)
    turn = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cosine, sine = (function(HUE * hue)[:, None, None] for function in (torch.cos, torch.sin))
    rotation = cosine * identity + (1 - cosine) * average + sine * turn
    saturated = (1 + SATURATION * saturation)[:, None, None] * (identity - luma) + luma
    factor = (1 + CONTRAST * contrast)[:, None, None]
    matrix = factor * (rotation @ saturated)
    return torch.cat([matrix, factor * (BRIGHTNESS * brightness)[:, None, None].expand(-1, 3, 1)], dim=2)


def distort(images: Tensor, distortions: Tensor) -> Tensor:
    """Return images [B, 3, H, W] in 0..255 in the colours that `draw_distortions` drew, float32."""
    changed = torch.einsum("bij,bjhw->bihw", distortions[:, :, :3], images.float())
    return (changed + distortions[:, :, 3, None, None]).clamp_(0, 255)
