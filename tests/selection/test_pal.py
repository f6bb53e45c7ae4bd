"""The strategy `pal`: what tells right boxes from wrong ones, and what images are chosen by."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings
from squares import squares
from squares_query import squares_query
from told_detector import told_query

from mgral.config import EvaluationConfig, resolve_config
from mgral.data.results import FoundBoxes
from mgral.models.suppression import Found
from mgral.selection.query import SAME_SCORES
from mgral.selection.selecting import choose, select
from mgral.selection.strategies.pal import (
    Boxes,
    boxes_in,
    class_diversity,
    class_weights,
    rank_penalty,
    right_by_class,
    suppress_counting,
    true_positives,
)

CAT, DOG, NOTHING = [0.1, 0.6, 0.3], [0.1, 0.3, 0.6], [1.0, 0.0, 0.0]
EMPTY = (np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def found(boxes, scores, labels):
    count = len(scores)
    distributions = torch.zeros(count, 3)
    told = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Found(
        told, torch.tensor(scores), torch.tensor(labels, dtype=torch.int64), distributions, torch.arange(count)
    )


def boxes(features, labels=None, right=None):
    count = len(features)
    labels = np.zeros(count, np.int64) if labels is None else np.array(labels)
    right = np.zeros(count, bool) if right is None else np.array(right)
    return Boxes(np.arange(count), labels, np.array(features, float).reshape(-1, 2), right)


def embedded(vectors):
    vectors = np.array(vectors, np.float32)
    return made_embeddings(np.arange(len(vectors)), vectors)


def with_truth(query, truth):
    """Label images of a query: rows, and the boxes and labels of each."""
    given = [truth.get(row, EMPTY) for row in range(len(query.dataset.image_ids))]
    own, labels = zip(*((np.array(b, np.float32), np.array(c, np.int64)) for b, c in given), strict=True)
    return replace(query, dataset=replace(query.dataset, boxes=own, labels=labels))


def test_support_counts_the_boxes_of_a_class_that_overlap_before_suppression():
    same = [[0, 0, 10, 10], [0, 0, 10, 9], [0, 1, 10, 10], [0, 0, 10, 10], [30, 30, 40, 40], [0, 0, 10, 2]]
    candidates = found(same, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [0, 0, 0, 1, 0, 0])
    kept, support = suppress_counting(candidates, EvaluationConfig(nms_iou=0.45))
    assert kept.scores.tolist() == pytest.approx([0.9, 0.6, 0.5, 0.4])
    # The last overlaps the first with an IoU of 0.2, and is an object of its own.
    assert support.tolist() == [3, 1, 1, 1]
    assert len(suppress_counting(candidates, EvaluationConfig(max_detections=2))[1]) == 2


def test_a_box_without_an_area_supports_itself():
    assert suppress_counting(found([[5, 5, 5, 9]], [0.9], [0]), EvaluationConfig())[1].tolist() == [1]


def test_a_labelled_box_is_found_once_by_a_box_of_its_class():
    truth = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10]]), torch.tensor([0, 1])
    sides = [[20, 0, 30, 10], [0, 0, 10, 8], [0, 0, 10, 10], [20, 0, 30, 5], [20, 6, 30, 16]]
    told = found(sides, [0.9, 0.8, 0.7, 0.6, 0.5], [0, 0, 0, 1, 1])
    # Of another class, right, taken already, right with an IoU of just 0.5, taken.
    assert true_positives(told, *truth).tolist() == [False, True, False, True, False]
    assert true_positives(told, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)).tolist() == [False] * 5


def test_the_regression_tells_right_from_wrong_by_support_where_confidence_does_not():
    rng = np.random.default_rng(0)
    right = np.arange(200) % 2 == 0
    support = np.where(right, rng.integers(8, 20, 200), rng.integers(1, 5, 200))
    features = np.stack([rng.random(200), support], axis=1)
    # Of class 1 it is the other way around: each class has a regression of its own.
    learnt = boxes(np.tile(features, (2, 1)), np.repeat([0, 1], 200), np.concatenate([right, ~right]))
    asked = boxes([[0.5, 15], [0.5, 1], [0.5, 15], [0.5, 1]], [0, 0, 1, 1])
    first, second, third, fourth = right_by_class(learnt, asked)
    assert min(first, fourth) > 0.9
    assert max(second, third) < 0.1


def test_a_class_that_cannot_be_learnt_is_judged_like_all_and_else_by_its_confidence():
    right = np.arange(20) % 2 == 0
    features = np.stack([np.where(right, 0.9, 0.2), np.ones(20)], axis=1)
    asked = boxes([[0.9, 1], [0.9, 1], [0.2, 1]], [0, 1, 1])
    # Of class 1 all that is labelled is right.
    learnt = boxes(np.concatenate([features, [[0.5, 1]] * 6]), [0] * 20 + [1] * 6, [*right, *[True] * 6])
    own, shared, unsure = right_by_class(learnt, asked)
    assert own > 0.7 > 0.3 > unsure
    assert shared == pytest.approx(own, abs=0.1)
    few = boxes(features[:8], right=right[:8])  # four of each
    assert right_by_class(few, asked) == pytest.approx([0.9, 0.9, 0.2])
    assert len(right_by_class(learnt, boxes([]))) == 0


def test_rare_classes_weigh_more_and_each_counts_once_in_an_image():
    weights = class_weights(np.array([8, 0, 3]))
    assert weights == pytest.approx([1, 3, 1.5])
    several = Boxes(np.array([0, 0, 0, 2]), np.array([0, 0, 1, 2]), np.zeros((4, 2)), np.zeros(4, bool))
    likely = np.array([0.5, 0.8, 0.2, 0.6])
    assert class_diversity(several, likely, weights, 3) == pytest.approx([0.8 * 1 + 0.2 * 3, 0, 0.6 * 1.5])


def test_an_image_is_penalised_for_being_like_one_that_ranks_before_it():
    vectors = np.array([[0, 2], [1, 0], [3, 3], [-1, 0], [5, 0]], np.float32)
    root = math.sqrt(0.5)
    # In the order 1, 0, 2, 3, 4: the fourth is the first turned around, the last points where the first does.
    penalties = rank_penalty(np.array([0.8, 0.9, 0.7, 0.6, 0.6]), vectors)
    assert penalties == pytest.approx([0, 0, root, 0, 1])


def query_of(told, vectors, truth, **settings):
    query = told_query(told, embeddings=embedded(vectors), labelled=sorted(truth), **settings)
    return with_truth(query, truth)


CATS = {0: ([[0, 0, 2, 2]] * 8, [0] * 8)}
"""An image with eight labelled cats: dogs are nine times as rare, and weigh three times as much."""


def test_an_image_of_a_rare_class_gains():
    told = [[CAT], [CAT], [CAT], [DOG]]
    query = query_of(told, np.eye(4), CATS, budget=3)
    choice = choose("pal", query)
    assert query.pool[choice.rows].tolist() == [3, 1, 2]
    # Too few boxes to learn from: all are as likely as they are confident. Cats weigh a third in both parts.
    assert choice.scores == pytest.approx([1, 1 / 3, 1 / 3])
    assert choice.forward_passes == 4


def test_two_copies_are_not_both_chosen_first():
    told = [[CAT], [DOG], [DOG], [CAT]]
    apart = choose("pal", query_of(told, np.eye(4), CATS, budget=2))
    assert apart.rows.tolist() == [0, 1]
    assert apart.scores == pytest.approx([1, 1])
    copies = choose("pal", query_of(told, np.eye(4)[[0, 1, 1, 2]], CATS, budget=2))
    assert copies.rows.tolist() == [0, 2]
    assert copies.scores == pytest.approx([1, 1 / 3])


def test_labels_are_compared_with_boxes_in_the_pixels_of_what_the_detector_was_shown():
    sides = torch.tensor([[[1.0, 1, 5, 5]]] * 2)
    query = query_of([[CAT]] * 2, np.eye(2), {0: ([[10, 10, 50, 50]], [0])}, boxes=sides, scale=10)
    assert boxes_in(query, query.labelled).right.tolist() == [True]
    pool = boxes_in(query, query.pool)
    assert pool.right.tolist() == [False]
    assert pool.features.tolist() == [pytest.approx([0.6, 1])]


def test_boxes_that_suppression_merges_tell_right_from_wrong_from_detection_on():
    """Of 12 labelled images every other one has its cat, found three times; in the rest it is found once, wrongly."""
    side = [[0.0, 0, 4, 4], [0, 0, 4, 3.9], [0, 0.1, 4, 4]]
    told = [[CAT] * (3 if row % 2 == 0 else 1) for row in range(12)] + [[CAT] * count for count in (1, 2, 3)]
    padded = [one + [NOTHING] * (3 - len(one)) for one in told]
    truth = {row: ([[0, 0, 4, 4]], [0]) if row % 2 == 0 else EMPTY for row in range(12)}
    query = query_of(padded, np.eye(15), truth, boxes=[side] * 15)
    learnt, pool = boxes_in(query, query.labelled), boxes_in(query, query.pool)
    assert learnt.right.tolist() == [True, False] * 6
    once, twice, thrice = right_by_class(learnt, pool)
    assert once < 0.2
    assert twice == pytest.approx(0.5, abs=0.01)
    assert thrice > 0.8


def test_images_without_boxes_are_chosen_at_random():
    query = query_of([[NOTHING]] * 40, np.eye(40), CATS, budget=4)
    choice = choose("pal", query)
    assert choice.reason == SAME_SCORES
    assert choice.forward_passes == 40


def test_a_dense_detector_is_selected_from_by_the_same_bytes():
    query = squares_query(images=12, labelled=5, budget=4)
    rng = np.random.default_rng(0)
    ids = query.dataset.image_ids
    given = made_embeddings(ids, rng.normal(size=(12, 3)))
    first, again = (choose("pal", replace(query, embeddings=given)) for _ in range(2))
    assert first.reason is None
    assert first.scores.tobytes() == again.scores.tobytes()
    assert first.rows.tolist() == again.rows.tolist()
    assert np.ptp(first.scores) > 0.01


def test_what_a_command_has_found_is_compared_in_pixels_of_the_original_images():
    dataset, images = squares(40)
    config = resolve_config({"initial": 20, "budget": 2, "cycles": 1, "strategies": ("entropy_sum",)})
    rows = np.arange(40)
    # The even ones are found, with confidence, and of the odd ones a corner, without. Rows 30 and 33 are in between.
    scores = np.where(rows % 2 == 0, 0.95, 0.1).astype(np.float32)
    scores[[30, 33]] = 0.5
    sides = np.concatenate(dataset.boxes)
    sides[1::2, 2:] = sides[1::2, :2] + 9
    distributions = np.stack([1 - scores, scores], axis=1)
    given = FoundBoxes(rows, sides, scores, np.zeros(40, np.int64), distributions)
    vectors = made_embeddings(dataset.image_ids, np.eye(40))
    chosen = select("pal", config, dataset, dataset.image_ids[:20], 0, images=images, found=given, embeddings=vectors)
    assert sorted(chosen.images.tolist()) == [40, 43]
    assert chosen.reason is None
