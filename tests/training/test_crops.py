"""SSD's augmentation: crops that overlap a box, boxes that follow the pixels, colours by one matrix."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mgral.config import AugmentationConfig
from mgral.config.canvas import Canvas
from mgral.models.interface import Targets
from mgral.training.augmentation import draw_changes, show_changed
from mgral.training.crops import (
    LEAST_OVERLAPS,
    distort,
    draw_distortions,
    draw_windows,
    in_sides,
    move_boxes,
)

CANVAS = Canvas(120, 120, "shrink", view=(60, 60))
SSD = AugmentationConfig(flip=0.5, colour=0.0, crop="iou", expand=3.0, distort=0.0)


def one_box_each(count: int, seed: int) -> Targets:
    """Boxes of a fifth to a half of the image's sides, in sides of the image."""
    generator = torch.Generator().manual_seed(seed)
    side = 0.2 + 0.3 * torch.rand(count, 1, 2, generator=generator)
    corner = torch.rand(count, 1, 2, generator=generator) * (1 - side)
    return Targets(torch.cat([corner, corner + side], 2), torch.zeros(count, 1, dtype=torch.int64))


@given(seed=st.integers(0, 10_000))
def test_a_crop_holds_the_centre_of_a_box_or_shows_all(seed):
    boxes = one_box_each(16, seed)
    windows = draw_windows(boxes, 4.0, torch.Generator().manual_seed(seed))
    side = windows[:, 2:] - windows[:, :2]
    assert (side > 0).all()
    assert (side <= 4.0 + 1e-4).all()
    assert (windows > -3.001).all()
    assert (windows < 4.001).all()
    moved = move_boxes(boxes, windows, (60, 60))
    assert (moved.labels == 0).all()
    assert ((moved.boxes[..., 2:] - moved.boxes[..., :2]) > 0).all()
    assert (moved.boxes >= 0).all()
    assert (moved.boxes <= 60).all()


def test_every_kind_of_crop_is_drawn():
    boxes = one_box_each(4000, 0)
    windows = draw_windows(boxes, 1.0, torch.Generator().manual_seed(0))
    side = windows[:, 2:] - windows[:, :2]
    whole = (side == 1).all(1).float().mean()
    assert 1 / (len(LEAST_OVERLAPS) + 1) < whole < 0.6  # with those for which no crop was found
    ratio = (side[:, 0] / side[:, 1])[(side < 1).all(1)]
    assert 0.5 <= ratio.min() < 0.6
    assert 1.8 < ratio.max() <= 2.0001
    assert side.min() < 0.35


def test_the_random_numbers_of_an_image_do_not_depend_on_the_others_boxes():
    boxes = one_box_each(6, 1)
    first = draw_windows(boxes, 4.0, torch.Generator().manual_seed(3))
    labels = boxes.labels.clone()
    labels[0] = -1
    second = draw_windows(Targets(boxes.boxes, labels), 4.0, torch.Generator().manual_seed(3))
    assert torch.equal(first[1:], second[1:])


def test_images_without_boxes_are_cropped_too():
    empty = Targets(torch.zeros(200, 0, 4), torch.zeros(200, 0, dtype=torch.int64))
    windows = draw_windows(empty, 1.0, torch.Generator().manual_seed(0))
    assert (windows[:, 2:] - windows[:, :2] < 1).all(1).float().mean() > 0.7


@given(seed=st.integers(0, 500))
def test_boxes_follow_the_pixels(seed):
    """A white box on black: what is white in the crop is the box that comes back, whatever was cut."""
    generator = torch.Generator().manual_seed(seed)
    covered = torch.tensor([[120.0, 80.0], [70.0, 120.0], [100.0, 100.0]])
    images = torch.full((3, 3, 120, 120), 70, dtype=torch.uint8)
    boxes = torch.zeros(3, 2, 4)
    labels = torch.tensor([[0, -1], [0, -1], [0, -1]])
    for index, (width, height) in enumerate(covered.int().tolist()):
        images[index, :, :height, :width] = 0
        x, y = (int(torch.randint(0, side - 30, (1,), generator=generator)) for side in (width, height))
        images[index, :, y : y + 28, x : x + 24] = 255
        boxes[index, 0] = torch.tensor([x, y, x + 24, y + 28])
    targets = Targets(boxes, labels)
    changes = draw_changes(in_sides(targets, covered), SSD, generator)
    shown, moved = show_changed(images, targets, covered, CANVAS, changes)
    assert shown.shape == (3, 3, 60, 60)
    for image, box, label in zip(shown, moved.boxes[:, 0], moved.labels[:, 0], strict=True):
        y, x = (image[0] > 190).nonzero().unbind(1)
        if label == 0 and len(x):
            white = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
            # Where the crop enlarges, an edge is as blurred as the pixels that it lies between.
            assert box.tolist() == pytest.approx(white, abs=2.6)
    assert (moved.boxes[:, 1] == 0).all()
    assert (moved.labels[:, 1] == -1).all()


def test_without_a_crop_a_view_shows_all_of_an_image():
    boxes = Targets(torch.tensor([[[10.0, 10.0, 30.0, 50.0]]]), torch.zeros(1, 1, dtype=torch.int64))
    covered = torch.tensor([[100.0, 50.0]])
    plain = AugmentationConfig(flip=0.0, zoom_in=1.0, zoom_out=1.0, colour=0.0)
    changes = draw_changes(in_sides(boxes, covered), plain, torch.Generator())
    shown, moved = show_changed(torch.zeros(1, 3, 120, 120, dtype=torch.uint8), boxes, covered, CANVAS, changes)
    assert shown.shape == (1, 3, 60, 60)
    assert moved.boxes[0, 0].tolist() == pytest.approx([6, 12, 18, 60])


def test_colours_change_as_far_as_they_may_and_grey_stays_grey():
    generator = torch.Generator().manual_seed(0)
    distortions = draw_distortions(500, 1.0, generator)
    grey = distort(torch.full((500, 3, 1, 1), 100.0), distortions)[..., 0, 0]
    torch.testing.assert_close(grey, grey[:, :1].expand(-1, 3), atol=1e-3, rtol=0)
    assert (100 - 32) * 0.5 < grey.min() < 60
    assert 180 < grey.max() < (100 + 32) * 1.5
    assert torch.equal(draw_distortions(3, 0.0, generator), torch.eye(3, 4).expand(3, 3, 4))


def test_hue_turns_red_towards_yellow_or_magenta():
    distortions = draw_distortions(200, 1.0, torch.Generator().manual_seed(1))
    matrix = distortions[:, :, :3]
    # The matrix is contrast times a turn about grey times a scaling of the distance to grey: its determinant says so.
    contrast = matrix.sum(2)[:, 0]
    saturation = (torch.linalg.det(matrix) / contrast**3).sqrt()
    assert ((saturation > 0.5 - 1e-4) & (saturation < 1.5 + 1e-4)).all()
    assert ((contrast > 0.5 - 1e-4) & (contrast < 1.5 + 1e-4)).all()
    trace = torch.diagonal(matrix / contrast[:, None, None], dim1=1, dim2=2).sum(1)
    assert trace.max() <= 1 + 2 * 1.5 + 1e-4
    assert math.isfinite(float(trace.min()))
