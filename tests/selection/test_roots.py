"""Choices by counts, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from made_embeddings import made_embeddings
from told_detector import told_query

from mgral.selection.query import SAME_SCORES
from mgral.selection.selecting import choose

NOTHING = [1.0, 0.0, 0.0]
PLENTY, FEW_RARE, ONE_RARE, SOME_RARE = (3, 0), (0, 4), (0, 1), (0, 0.2)


def counted(counts, labels=(), **given):
    """A query over the images with these predicted counts, after one that is labelled with objects of `labels`."""
    count = len(counts) + 1
    query = told_query([[NOTHING]] * count, labelled=(0,), **given)
    boxes = (np.tile(np.float32([0, 0, 2, 2]), (len(labels), 1)), *query.dataset.boxes[1:])
    dataset = replace(query.dataset, boxes=boxes, labels=(np.array(labels, np.int64), *query.dataset.labels[1:]))
    predicted = [(50, 50), *counts]
    embeddings = made_embeddings(np.arange(count), np.zeros((count, 1)), predicted)
    return replace(query, dataset=dataset, embeddings=embeddings)


def order(strategy, query):
    return (query.pool[choose(strategy, query).rows] - 1).tolist()


def test_a_class_with_many_labels_is_worth_less():
    """Nine objects of the first class are labelled: three more add 12^0.5 - 3, one of the other class 1."""
    query = counted([PLENTY, ONE_RARE, SOME_RARE], labels=[0] * 9, budget=3)
    assert order("sqrt_counts", query) == [1, 0, 2]
    assert choose("sqrt_counts", query).scores == pytest.approx([1, 12**0.5 - 3, 1.2**0.5 - 1])
    # With neither labelled, and with the other one labelled, it is the other way round.
    assert order("sqrt_counts", counted([PLENTY, ONE_RARE, SOME_RARE], budget=3)) == [0, 1, 2]
    assert order("sqrt_counts", counted([PLENTY, ONE_RARE, SOME_RARE], labels=[1] * 9, budget=3))[0] == 0


def test_what_is_chosen_counts_as_labelled():
    """After 4 of the second class 4 more add 8^0.5 - 2, less than the root of 1 of the first."""
    query = counted([FEW_RARE, FEW_RARE, (1, 0)], budget=3)
    assert order("sqrt_counts", query)[1] == 2
    assert choose("sqrt_counts", query).scores == pytest.approx([2, 1, 8**0.5 - 2])


def test_a_price_prefers_cheap_images():
    """2 / 5 for four objects, 1 / 2 for one."""
    query = counted([FEW_RARE, ONE_RARE], budget=1)
    assert order("sqrt_counts", query) == [0]
    assert order("sqrt_counts_per_box", query) == [1]
    assert choose("sqrt_counts_per_box", query).scores == pytest.approx([0.5])


def test_most_objects_are_those_of_all_classes():
    query = counted([PLENTY, (2, 2), ONE_RARE], labels=[0] * 9, budget=2)
    assert order("most_objects", query) == [1, 0]
    assert choose("most_objects", query).scores == pytest.approx([4, 3])


@pytest.mark.parametrize("strategy", ["sqrt_counts", "sqrt_counts_per_box"])
def test_other_ids_change_nothing(strategy):
    rng = np.random.default_rng(0)
    counts, shuffled = rng.gamma(1, 2, (30, 2)), rng.permutation(30)
    chosen = order(strategy, counted(counts, labels=[0, 0, 1], budget=10))
    assert shuffled[order(strategy, counted(counts[shuffled], labels=[0, 0, 1], budget=10))].tolist() == chosen


@pytest.mark.parametrize("strategy", ["sqrt_counts", "sqrt_counts_per_box", "most_objects"])
def test_equal_counts_are_drawn_from_at_random(strategy):
    choice = choose(strategy, counted([(1, 2)] * 40, budget=4))
    assert choice.reason == SAME_SCORES
    assert sorted(choice.rows) != [0, 1, 2, 3]


@pytest.mark.parametrize("strategy", ["sqrt_counts", "sqrt_counts_per_box", "most_objects"])
def test_where_nothing_more_is_found_images_are_drawn_and_counted(strategy):
    choice = choose(strategy, counted([(1, 2), *[(0, 0)] * 400], budget=41))
    assert choice.rows[0] == 0
    assert 120 < choice.rows[1:].mean() < 280
    assert (choice.tied, choice.reason) == (40, None)


def of_first(score):
    return [1 - score, score, 0.0]


def of_second(score):
    return [1 - score, 0.0, score]


MANY, BOTH = [of_first(0.9)] * 4, [of_first(0.9), of_second(0.8), NOTHING, NOTHING]
ONE = [of_second(0.5), NOTHING, NOTHING, NOTHING]


def presented(strategy, told, labels=(), **given):
    """Return rows of `told` and the scores, after an image that is labelled with objects of `labels`."""
    query = told_query([[NOTHING] * 4, *told], labelled=(0,), **given)
    boxes = (np.tile(np.float32([0, 0, 2, 2]), (len(labels), 1)), *query.dataset.boxes[1:])
    dataset = replace(query.dataset, boxes=boxes, labels=(np.array(labels, np.int64), *query.dataset.labels[1:]))
    choice = choose(strategy, replace(query, dataset=dataset))
    assert choice.forward_passes == len(told)
    return choice.rows.tolist(), choice.scores


def test_an_image_shows_a_class_once():
    """Four objects of a class are worth no more than the surest; by roots of their sum they would be, 3.6^0.5."""
    rows, scores = presented("class_presence", [MANY, BOTH, ONE], budget=3)
    assert rows == [1, 0, 2]
    assert scores == pytest.approx([0.9**0.5 + 0.8**0.5, 1.8**0.5 - 0.9**0.5, 1.3**0.5 - 0.8**0.5], rel=1e-5)


def test_a_labelled_image_shows_a_class_once():
    """Of nine objects in one image: 1.9^0.5 - 1 more for the same class, 0.5^0.5 for the other."""
    rows, scores = presented("class_presence", [MANY, ONE], labels=[0] * 9, budget=2)
    assert rows == [1, 0]
    assert scores == pytest.approx([0.5**0.5, 1.9**0.5 - 1], rel=1e-5)


def test_the_price_of_a_presence_is_all_boxes():
    rows, scores = presented("class_presence_per_box", [MANY, BOTH, ONE], budget=3)
    # 0.95 / 4.6, 1.84 / 2.7 and 0.71 / 1.5 at first; then 0.39 / 4.6 and 0.25 / 1.5.
    assert rows == [1, 2, 0]
    found = [(0.9**0.5 + 0.8**0.5) / 2.7, (1.3**0.5 - 0.8**0.5) / 1.5, (1.8**0.5 - 0.9**0.5) / 4.6]
    assert scores == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("strategy", ["class_presence", "class_presence_per_box"])
def test_where_nothing_is_found_the_images_are_drawn_at_random(strategy):
    choice = choose(strategy, told_query([[NOTHING]] * 40, budget=4, labelled=(1,)))
    assert choice.reason == SAME_SCORES
    assert choice.forward_passes == 39
