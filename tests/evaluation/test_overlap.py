"""Intersection over union, against torchvision's, and boxes in pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_convert, box_iou

from mgral.evaluation.overlap import overlaps, pairs

BOXES = st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 40)] * 2), min_size=1, max_size=8)


@given(BOXES, BOXES)
def test_it_is_torchvisions(first, second):
    ours, theirs = np.array(first, np.float64), np.array(second, np.float64)
    corners = [box_convert(torch.from_numpy(boxes), "xywh", "xyxy") for boxes in (ours, theirs)]
    assert overlaps(ours, theirs) == pytest.approx(box_iou(*corners).numpy())


@given(BOXES, BOXES)
def test_each_box_is_its_own_partner_and_there_are_no_more_pairs_than_boxes(first, second):
    ours, theirs = np.array(first, np.float64), np.array(second, np.float64)
    assert pairs(ours, ours) == len(ours)
    assert pairs(ours, theirs) <= min(len(ours), len(theirs))


def test_a_box_has_one_partner_the_one_that_it_overlaps_most():
    box, near, far = [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 6.0]
    assert pairs(np.array([box]), np.array([far, near])) == 1
    assert pairs(np.array([box, near]), np.array([far, near])) == 2
    assert pairs(np.array([box]), np.array([[0.0, 0.0, 10.0, 4.9]])) == 0
    assert pairs(np.empty((0, 4)), np.array([box])) == 0
