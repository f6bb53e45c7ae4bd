"""Agreement of two detectors, worked out by hand."""

import pytest

from mgral.evaluation.agreement import agreement


def box(image, category, x, side=10):
    return {"image_id": image, "category_id": category, "bbox": [x, 0, side, side], "score": 0.5}


def test_pairs_of_one_image_and_class():
    first = [box(1, 1, 0), box(1, 1, 50), box(2, 1, 0)]
    second = [box(1, 1, 2), box(1, 2, 50), box(3, 1, 0), box(1, 1, 80)]
    # One pair of 3 and 4 boxes: the others differ in place, class or image.
    assert agreement(first, second) == pytest.approx(2 / 7)
    assert agreement(second, first) == pytest.approx(2 / 7)
    assert agreement(first, first) == 1


def test_each_box_has_one_partner():
    assert agreement([box(1, 1, 0), box(1, 1, 1)], [box(1, 1, 0)]) == pytest.approx(2 / 3)
    # If the box at 0 took that at 2, those at 4 and at -2 would be left alone: they overlap too little.
    assert agreement([box(1, 1, 0), box(1, 1, 4)], [box(1, 1, 2), box(1, 1, -2)]) == 1


def test_nothing_found():
    assert agreement([], []) is None
    assert agreement([], [box(1, 1, 0)]) == 0
