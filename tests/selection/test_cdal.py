"""The strategy `cdal`: contextual diversity, by one mixture an image."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from squares_query import CONFIG, eager_detector, squares_query
from told_detector import told_query

from mgral.data.dataset import Category
from mgral.selection.query import SAME_SCORES
from mgral.selection.selecting import choose
from mgral.selection.strategies.cdal import choose_diverse, mixture


def entropy(p):
    return -sum(a * math.log(a) for a in p)


def symmetric_kl(p, q):
    return 0.5 * sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_a_mixture_weighs_all_anchors_by_the_entropies_of_their_classes():
    sure, torn = [0.9, 0.1], [0.5, 0.5]
    logits = torch.tensor([[sure, torn, sure]]).log() + 3  # softmax does not see what is added
    weights = 2 * entropy(sure), entropy(torn)
    first = (weights[0] * 0.9 + weights[1] * 0.5) / sum(weights)
    assert mixture(logits)[0].tolist() == pytest.approx([first, 1 - first], rel=1e-6)


def test_anchors_without_any_doubt_have_a_mixture_too():
    assert mixture(torch.tensor([[[2000.0, 0.0]] * 3])).tolist()[0] == pytest.approx([1, 1e-7])


mixtures = arrays(np.float64, (6, 3), elements=st.floats(1e-3, 1)).map(lambda p: p / p.sum(1, keepdims=True))


@given(mixtures)
def test_each_is_the_farthest_from_the_nearest_that_is_labelled_or_chosen(images):
    """Whatever the order of the labelled ones."""
    choice = choose_diverse(images, 4, 4)
    table = np.array([[symmetric_kl(p, q) for q in images] for p in images])
    taken = [4, 5]
    for row, score in zip(choice.rows, choice.scores, strict=True):
        nearest = table[:4, taken].min(1)
        assert score == pytest.approx(nearest[row], abs=1e-9)
        assert nearest[row] == pytest.approx(nearest[[r for r in range(4) if r not in taken]].max(), abs=1e-9)
        taken.append(row)


def test_the_background_plays_no_part_and_labelled_images_are_not_chosen():
    told = [
        [[0.98, 0.01, 0.01], [0.2, 0.4, 0.4]],
        [[0.2, 0.4, 0.4], [0.5, 0.25, 0.25]],
        [[0.0, 0.9, 0.1], [0.9, 0.09, 0.01]],
        [[0.4, 0.3, 0.3], [0.0, 0.8, 0.2]],
        [[0.1, 0.45, 0.45], [0.1, 0.45, 0.45]],
    ]
    query = told_query(told, budget=3, labelled=(0,))
    choice = choose("cdal", query)
    weights = entropy([0.5, 0.5]), entropy([0.8, 0.2])
    third = (0.5 * weights[0] + 0.8 * weights[1]) / sum(weights)
    assert query.pool[choice.rows].tolist()[:2] == [2, 3]
    # The third is nearer to the labelled image than to the second; then nothing is apart.
    to_labelled, to_second = (symmetric_kl([third, 1 - third], [p, 1 - p]) for p in (0.5, 0.9))
    assert choice.scores == pytest.approx(
        [symmetric_kl([0.9, 0.1], [0.5, 0.5]), min(to_labelled, to_second), 0], abs=1e-6
    )
    assert choice.forward_passes == 5


def test_of_one_class_nothing_is_mixed_up():
    assert choose("cdal", told_query([[[0.5, 0.5]], [[0.1, 0.9]], [[0.3, 0.7]]], labelled=(0,))).reason == SAME_SCORES


def test_a_run_on_a_real_detector_repeats_itself():
    query = squares_query(budget=3)
    classes = tuple(Category(i, f"class {i}") for i in range(3))
    dataset = replace(query.dataset, categories=classes)
    query = replace(query, dataset=dataset, detector=eager_detector(CONFIG, len(classes)))
    first, again = choose("cdal", query), choose("cdal", query)
    assert len(set(first.rows.tolist())) == 3
    assert first.rows.tolist() == again.rows.tolist()
    assert first.scores.tolist() == again.scores.tolist()
    assert first.reason is None
    assert first.scores.min() > 0


def test_of_a_single_class_nothing_is_mixed_up_with_anything():
    query = squares_query(labelled=1, budget=2)  # one image alone is computed otherwise than in a batch
    assert len(query.dataset.categories) == 1
    assert choose("cdal", query).reason == SAME_SCORES
