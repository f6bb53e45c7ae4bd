"""Boxes that are proposed: cut to the picture, large enough, and such as one may trust."""

import numpy as np
from squares import SIZE, square_set

from mgral.config import EvaluationConfig
from mgral.evaluation.detect import detect_images
from mgral.labelling.prelabels import MOST_BOXES, proposed_boxes
from mgral.labelling.records import Box, FoundBox
from mgral.models.build import random_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig

CLASSES = {3: "car", 7: "big truck"}
SIZES = {1: (100, 80), 2: (50, 50)}


def found(image, bbox, score=0.9, category=3):
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": score}


def proposed(*those, threshold=0.5):
    return proposed_boxes(those, CLASSES, SIZES, threshold)


def test_best_first_by_name_and_only_from_the_threshold_on():
    boxes = proposed(
        found(1, [1, 2, 3, 4], 0.5),
        found(2, [1, 2, 3, 4], 0.6),
        found(1, [5, 6, 7, 8], 0.7, category=7),
        found(1, [5, 6, 7, 8], 0.499),
        found(1, [5, 6, 7, 8], 0.9, category=4),  # a class that is no more
    )
    assert boxes == {
        1: (FoundBox(Box(5, 6, 7, 8, "big truck"), 0.7), FoundBox(Box(1, 2, 3, 4, "car"), 0.5)),
        2: (FoundBox(Box(1, 2, 3, 4, "car"), 0.6),),
    }


def test_a_detector_that_is_never_trusted_proposes_nothing():
    assert proposed(found(1, [1, 2, 3, 4], 1.0), threshold=None) == {}


def test_boxes_are_cut_and_those_below_a_pixel_left_out():
    boxes = proposed(
        found(1, [-5, -5, 10, 10]),
        found(1, [90, 70, 20, 20], 0.8),
        found(1, [99.5, 0, 10, 10]),  # half a pixel of it is in the picture
        found(1, [200, 0, 10, 10]),
        found(1, [5, 5, 0, 10]),
    )
    assert boxes == {1: (FoundBox(Box(0, 0, 5, 5, "car"), 0.9), FoundBox(Box(90, 70, 10, 10, "car"), 0.8))}


def test_no_more_than_people_can_correct():
    many = [found(1, [1, 2, 3, 4], 0.5 + n / 1000) for n in range(MOST_BOXES + 20)]
    assert [one.score for one in proposed(*many)[1]][::99] == [0.619, 0.52]


def test_what_the_step_writes_is_what_is_read():
    """The step writes what `detect_images` returns."""
    data = square_set(3)
    detector = random_detector(SmallSSDConfig(width=SIZE, height=SIZE, channels=4), 1, seed=0).eval()
    written = detect_images(detector, data.dataset, data.images, np.arange(3), EvaluationConfig(score_threshold=0))
    sizes = dict.fromkeys(data.dataset.image_ids.tolist(), (2 * SIZE, 2 * SIZE))
    boxes = proposed_boxes(written, {0: "square"}, sizes, 0.0)
    assert set(boxes) == {10, 11, 12}
    for one in boxes.values():
        for box, _ in one:
            assert min(box.x, box.y) >= 0
            assert max(box.x + box.width, box.y + box.height) <= 2 * SIZE
