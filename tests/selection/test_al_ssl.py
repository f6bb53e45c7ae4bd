"""The strategy `al_ssl`: the most inconsistent of the images that are uncertain."""

import math

import pytest
from squares_query import squares_query
from told_detector import told_query

from mgral.selection.selecting import choose

SURE, CAT, UNSURE, NOTHING = [0.01, 0.98, 0.01], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1]
FAINT = [0.35, 0.45, 0.2]


def symmetric_kl(p, q):
    return 0.5 * sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_the_likely_object_that_changes_most_counts():
    """Mirrored, the first anchor is the last one and the second stays."""
    told = [[CAT, CAT, UNSURE], [CAT, NOTHING, NOTHING], [CAT, CAT, CAT], [FAINT, NOTHING, NOTHING]]
    choice = choose("al_ssl", told_query(told, budget=4))
    # Image 3: 0.45 is not likely enough to count.
    assert choice.rows.tolist()[:2] == [1, 0]
    assert choice.scores == pytest.approx([symmetric_kl(CAT, NOTHING), symmetric_kl(CAT, UNSURE), 0, 0], abs=1e-6)
    assert choice.forward_passes == 8


def test_a_box_that_a_better_one_suppresses_does_not_count():
    """The outer two anchors are each other's mirror image, and so are the inner two."""
    told = [[CAT, UNSURE, NOTHING, CAT]] * 2
    together, apart = [0, 0, 4, 4], [0, 20, 4, 24]
    behind, beside = [0, 0, 4, 4.2], [0, 10, 4, 14]
    boxes = [[together, behind, apart, apart], [together, beside, apart, apart]]
    choice = choose("al_ssl", told_query(told, boxes=boxes, budget=2))
    assert choice.rows.tolist() == [1, 0]
    assert choice.scores == pytest.approx([symmetric_kl(UNSURE, NOTHING), 0], rel=1e-5)


def test_of_images_that_change_only_the_uncertain_ones_are_candidates():
    """Three images a chosen one: the fourth by entropy changes most, and is left out."""
    unsure = [[UNSURE, NOTHING, CAT], [UNSURE, NOTHING, UNSURE], [UNSURE, NOTHING, [0.2, 0.7, 0.1]]]
    told = [[SURE, NOTHING, NOTHING], *unsure]
    choice = choose("al_ssl", told_query(told, budget=1))
    assert choice.rows.tolist() == [1]
    assert choice.scores == pytest.approx([symmetric_kl(UNSURE, CAT)], rel=1e-5)


def test_images_without_a_likely_object_fill_a_batch_in_random_order():
    choice = choose("al_ssl", told_query([[CAT, NOTHING, UNSURE], *[[NOTHING] * 3] * 20], budget=4))
    assert choice.rows[0] == 0
    assert choice.rows[1:].tolist() != sorted(choice.rows[1:].tolist())
    assert choice.tied == 3


def test_a_run_on_a_real_detector_repeats_itself():
    query = squares_query(budget=3)
    first, again = choose("al_ssl", query), choose("al_ssl", query)
    assert len(set(first.rows.tolist())) == 3
    assert first.rows.tolist() == again.rows.tolist()
    assert first.scores.tolist() == again.scores.tolist()
    assert first.reason is None
    assert first.scores.max() > 0
