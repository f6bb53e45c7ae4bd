"""The strategy `cdal_by_class`: contextual diversity, class by class."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from squares_query import squares_query
from told_detector import told_query

from mgral.models.suppression import Found
from mgral.selection.selecting import choose
from mgral.selection.strategies.cdal_by_class import SMALLEST, choose_diverse, class_mixtures, distances_from

NOTHING = [1.0, 0.0, 0.0]


def entropy(p):
    return -sum(a * math.log(a) for a in p if a)


def symmetric_kl(p, q):
    return 0.5 * sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def objects(distributions):
    """Boxes with these distributions; where they lie plays no part."""
    told = torch.tensor(distributions).reshape(-1, 3)
    scores, labels = told[:, 1:].max(1)
    count = torch.arange(len(told))
    return Found(count[:, None].expand(-1, 4).float(), scores, labels, told, count)


def test_a_mixture_weighs_boxes_by_their_entropies_class_by_class():
    sure, unsure, dog = [0.02, 0.96, 0.02], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]
    mixtures = class_mixtures(objects([sure, dog, unsure]))
    weights = entropy(sure), entropy(unsure)
    cat = [(weights[0] * a + weights[1] * b) / sum(weights) for a, b in zip(sure, unsure, strict=True)]
    assert list(mixtures) == [0, 1]
    assert mixtures[0] == pytest.approx(cat, rel=1e-5)
    assert mixtures[1] == pytest.approx(dog, rel=1e-5)


def test_boxes_without_any_doubt_have_a_mixture_too():
    assert class_mixtures(objects([[0.0, 1.0, 0.0]] * 2))[0] == pytest.approx([SMALLEST, 1, SMALLEST], abs=1e-6)
    assert class_mixtures(objects([])) == {}


def test_distances_add_up_over_common_classes_only():
    p, q, r = ([0.1, 0.6, 0.3], [0.3, 0.5, 0.2], [0.2, 0.1, 0.7])
    one, two, three = ({0: np.float32(p), 1: np.float32(r)}, {0: np.float32(q), 1: np.float32(q)}, {0: np.float32(r)})
    found = distances_from([one, two, three, {}])(one)
    assert found == pytest.approx(
        [0, symmetric_kl(p, q) + symmetric_kl(r, q), symmetric_kl(p, r), math.inf], rel=1e-5, abs=1e-6
    )
    assert distances_from([two])({5: np.float32(p)}).tolist() == [math.inf]


distributions = arrays(np.float32, 4, elements=st.floats(2**-20, 1, width=32)).map(lambda p: p / p.sum())


@given(st.lists(st.dictionaries(st.integers(0, 2), distributions, min_size=1), min_size=2, max_size=4))
def test_a_distance_is_symmetric_and_nothing_to_itself(images):
    distances = distances_from(images)
    table = np.stack([distances(image) for image in images])
    np.testing.assert_allclose(table, table.T, atol=1e-5)
    assert (np.diag(table) < 1e-5).all()
    assert (table >= 0).all()


def test_a_class_that_is_not_labelled_comes_first_and_an_empty_image_last():
    cat, mixed_up, dog = (
        {0: np.float32([0.1, 0.8, 0.1])},
        {0: np.float32([0.1, 0.5, 0.4])},
        {1: np.float32([0.1, 0.2, 0.7])},
    )
    choice = choose_diverse([{}, cat, mixed_up, dog, dog], [cat, {}], 5, classes=2)
    # After a dog is chosen the other one is at distance 0, as is the cat, and as empty images are throughout.
    assert choice.rows[0] in (3, 4)
    assert choice.rows[1] == 2
    expected = [-2 * math.log(SMALLEST), symmetric_kl([0.1, 0.8, 0.1], [0.1, 0.5, 0.4]), 0, 0, 0]
    assert choice.scores == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_labelled_images_are_looked_at_and_not_chosen():
    cat, mixed_up, dog = [0.1, 0.8, 0.1], [0.1, 0.5, 0.4], [0.1, 0.2, 0.7]
    told = [[cat, NOTHING], [mixed_up, NOTHING], [cat, cat], [mixed_up, dog], [NOTHING, NOTHING]]
    query = told_query(told, budget=4, labelled=(0,))
    choice = choose("cdal_by_class", query)
    # Images 1 and 3 are as far from the labelled one; then nothing is.
    assert query.pool[choice.rows].tolist()[0] == 1
    assert choice.scores == pytest.approx([symmetric_kl(cat, mixed_up), 0, 0, 0], rel=1e-5, abs=1e-6)
    assert choice.forward_passes == 5


def test_a_run_on_a_real_detector_repeats_itself():
    query = squares_query(budget=3)
    first, again = choose("cdal_by_class", query), choose("cdal_by_class", query)
    assert len(set(first.rows.tolist())) == 3
    assert first.rows.tolist() == again.rows.tolist()
    assert first.scores.tolist() == again.scores.tolist()
    assert first.scores.min() > 0
