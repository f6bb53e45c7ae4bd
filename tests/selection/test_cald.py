"""The strategy `cald`: consistency under augmentation, and its second stage."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from squares_query import squares_query
from told_detector import SIDE, told_query

from mgral.models.suppression import Found
from mgral.selection import augmentation
from mgral.selection.selecting import choose
from mgral.selection.strategies.cald import (
    FARTHEST,
    choose_balanced,
    class_scores,
    distance_to_base,
    jensen_shannon,
    measure_pool,
)

CAT, DOG, UNSURE, NOTHING = [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3], [1.0, 0.0, 0.0]
BOX = [[10.0, 10.0, 30.0, 30.0]]


def objects(boxes, distributions):
    told = torch.tensor(distributions).reshape(-1, 3)
    scores, labels = told[:, 1:].max(1)
    return Found(torch.tensor(boxes).reshape(-1, 4), scores, labels, told, torch.arange(len(told)))


def js_nats(p, q):
    def to_middle(one):
        return sum(a * math.log(2 * a / (a + b)) for a, b in zip(one, q if one is p else p, strict=True) if a)

    return (to_middle(p) + to_middle(q)) / 2


def test_an_object_that_stays_as_it_is_is_as_far_from_the_base_as_it_is_sure():
    same = objects(BOX, [CAT])
    assert distance_to_base(same, same.boxes, same) == pytest.approx(abs(1 + 0.8 - 1.3), rel=1e-6)


def test_a_box_is_compared_with_the_one_that_overlaps_it_most():
    changed = objects([[200.0, 0, 220, 20], [20.0, 10, 40, 30], [10.0, 10, 30, 35]], [CAT, CAT, UNSURE])
    expected = 20 / 25 + (1 - js_nats(CAT, UNSURE)) * (0.8 + 0.3) / 2 - 1.3
    found = distance_to_base(objects(BOX, [CAT]), torch.tensor(BOX), changed)
    assert found == pytest.approx(abs(expected), rel=1e-5)


def test_the_box_nearest_to_the_base_counts():
    boxes = [*BOX, [50.0, 10.0, 70.0, 30.0]]
    original, changed = objects(boxes, [CAT, DOG]), objects([BOX[0], [50.0, 10.0, 70.0, 20.0]], [CAT, DOG])
    # 1 + 0.8 is 0.5 above 1.3, and 0.5 + 0.8 just it.
    assert distance_to_base(original, original.boxes, changed) == pytest.approx(0, abs=1e-6)


def test_boxes_are_compared_where_they_lie_after_the_change():
    original, moved = objects(BOX, [CAT]), torch.tensor([[30.0, 10.0, 50.0, 30.0]])
    assert distance_to_base(original, moved, objects(moved.tolist(), [CAT])) == pytest.approx(0.5, rel=1e-6)


def test_an_image_without_objects_is_first_and_so_is_one_that_loses_them():
    none, one = objects([], []), objects(BOX, [CAT])
    assert distance_to_base(none, none.boxes, one) == 0
    assert distance_to_base(one, one.boxes, none) == 0


def test_what_is_hardly_more_than_noise_is_no_farther_than_1():
    faint, elsewhere = objects(BOX, [[0.9, 0.1, 0.0]]), torch.tensor([[200.0, 0, 220, 20]])
    # 0 + 0.1 is 1.2 below 1.3.
    assert distance_to_base(faint, elsewhere, faint) == FARTHEST == 1


def test_boxes_without_an_area_overlap_nothing():
    flat = objects([[10.0, 10.0, 10.0, 30.0]], [CAT])
    assert distance_to_base(flat, flat.boxes, flat) == pytest.approx(1.3 - 0.8, rel=1e-6)


def test_jensen_shannon_is_0_for_the_same_and_ln_2_for_what_has_nothing_in_common():
    p, q = torch.tensor([[0.2, 0.8, 0.0], [1.0, 0, 0], CAT]), torch.tensor([[0.2, 0.8, 0.0], [0, 0.5, 0.5], DOG])
    assert jensen_shannon(p, q).tolist() == pytest.approx([0, math.log(2), js_nats(CAT, DOG)], abs=1e-6)
    assert torch.equal(jensen_shannon(p, q), jensen_shannon(q, p))


def test_class_scores_are_the_highest_of_each_class():
    found = objects(BOX * 3, [UNSURE, CAT, CAT])
    assert class_scores(found, 2).tolist() == pytest.approx([0.8, 0])
    assert class_scores(objects([], []), 2).tolist() == [0, 0]


def softmax(*values):
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def test_the_second_stage_takes_what_is_labelled_least_and_counts_it_as_labelled():
    scores = torch.tensor([[0.9, 0.0], [0.0, 0.9], [0.0, 0.9], [0.9, 0.0]], dtype=torch.float64)
    counts = torch.tensor([[2.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    choice = choose_balanced(scores, counts, 3)
    first = js_nats(softmax(0, 0.9), softmax(1, 0.5))
    # The mean of [2, 1], [0, 0] and the [0, 0.9] that was chosen.
    second = [js_nats(softmax(*image), softmax(2 / 3, 1.9 / 3)) for image in ((0, 0.9), (0.9, 0))]
    assert choice.rows.tolist() == [1, 2, 0]
    assert second[0] > second[1]
    third = js_nats(softmax(0.9, 0), softmax(2 / 4, 2.8 / 4))
    assert choice.scores == pytest.approx([first, second[0], third], rel=1e-6)


def test_the_second_stage_takes_images_without_any_score_first():
    scores = torch.tensor([[0.9, 0.0], [0.0, 0.0], [0.0, 0.9], [0.0, 0.0]], dtype=torch.float64)
    choice = choose_balanced(scores, torch.tensor([[9.0, 0.0]], dtype=torch.float64), 3)
    assert choice.rows.tolist() == [1, 3, 2]
    assert choice.scores[:2] == pytest.approx([math.log(2)] * 2)


class Views(torch.nn.Module):
    """Says of the images as they are, flipped, shrunk, rotated and cut, in this order, what each of five is told."""

    device = torch.device("cpu")

    def __init__(self, detectors):
        super().__init__()
        self.turn = itertools.cycle(detectors)

    def detect(self, images, limits):
        return next(self.turn).detect(images, limits)


def told_views(as_is, changed, **settings):
    """A query of which each view of an image is told by itself, but for its box, which lies where it was moved to."""
    box = torch.tensor([[2.0, 2.0, 6.0, 6.0]])
    moved = [boxes[0] for _, boxes in augmentation.views(torch.zeros(1, 3, SIDE, SIDE), [box], [0])]
    detectors = []
    for told, lies in zip((as_is, *changed), (box, *moved), strict=True):
        boxes = lies.expand(len(told), 1, 4)
        query = told_query([[one] for one in told], boxes=boxes, **settings)
        detectors.append(query.detector)
    return replace(query, detector=Views(detectors))


def test_of_augmentations_the_mean_counts():
    # Image 0 stays a cat, 1 becomes a dog once, 2 each time, 3 holds nothing, and of 4 nothing is found once.
    as_is = [CAT, CAT, CAT, NOTHING, CAT]
    changed = [[CAT, DOG, DOG, NOTHING, NOTHING], *[[CAT, CAT, DOG, NOTHING, CAT]] * 3]
    query = told_views(as_is, changed, budget=2)
    stays, turns = 1 + 0.8 - 1.3, abs(1 + (1 - js_nats(CAT, DOG)) * 0.8 - 1.3)
    distances, scores = measure_pool(query)
    assert distances == pytest.approx([stays, (3 * stays + turns) / 4, turns, 0, 3 * stays / 4], rel=1e-5)
    assert scores[1].tolist() == pytest.approx([0.8 * 4 / 5, 0.8 / 5])
    assert scores[3].tolist() == [0, 0]


def test_the_most_inconsistent_images_are_chosen():
    as_is, dogs = [CAT, CAT, CAT, CAT, NOTHING, CAT], [CAT, DOG, DOG, CAT, NOTHING, CAT]
    changed = [dogs, [CAT, CAT, DOG, CAT, NOTHING, CAT], as_is, as_is]
    for budget, expected in ((1, {4}), (2, {2, 4}), (3, {1, 2, 4})):
        query = told_views(as_is, changed, budget=budget, labelled=(5,))
        choice = choose("cald", query)
        assert set(query.pool[choice.rows].tolist()) == expected
        assert choice.forward_passes == 25
        assert (choice.scores >= 0).all()


def test_a_run_on_a_real_detector_repeats_itself_whatever_the_batch(monkeypatch):
    query = squares_query(budget=3)
    first = choose("cald", query)
    assert len(set(first.rows.tolist())) == 3
    monkeypatch.setattr("mgral.config.canvas.CHUNK", 2)
    again = choose("cald", query)
    assert first.rows.tolist() == again.rows.tolist()
    distances, _ = measure_pool(query)
    assert set(first.rows.tolist()) <= set(np.argsort(distances)[:4].tolist())
    assert (distances > 0).all()
    assert (distances <= FARTHEST).all()
