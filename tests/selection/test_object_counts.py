"""Objects to expect in an image: as many as labelled images hold that it looks like."""

from dataclasses import replace

import numpy as np
import pytest
from squares import squares

from mgral.data.dataset import Category
from mgral.errors import InputError
from mgral.selection.object_counts import predict_object_counts


def _images(count, seed=0):
    """Points in three clumps, with 1, 2 and 0 objects of the first class, 4 of the second and none of the third."""
    rng = np.random.default_rng(seed)
    clump = rng.integers(0, 3, count)
    vectors = (np.array([[0, 0], [3, 0], [0, 3]])[clump] + rng.normal(size=(count, 2)) / 4).astype(np.float32)
    return vectors, np.stack([np.array([1, 2, 0])[clump], np.full(count, 4), np.zeros(count)], axis=1).astype(
        np.int64
    )


def test_an_image_is_to_hold_what_the_labelled_ones_do_that_it_looks_like():
    vectors, counts = _images(200)
    labelled = np.arange(0, 200, 5)
    expected = predict_object_counts(vectors, labelled, counts[labelled], seed=0)
    assert expected.shape == (200, 3)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected[:, 0], counts[:, 0], atol=0.25)
    # Of classes that every labelled image holds as much of, and so each of the others.
    np.testing.assert_allclose(expected[:, 1:], counts[:, 1:], atol=1e-6)


def test_what_says_nothing_of_the_objects_is_smoothed_away():
    rng = np.random.default_rng(0)
    vectors, counts = rng.normal(size=(300, 4)).astype(np.float32), rng.poisson(2.0, (300, 1))
    labelled = np.arange(150)
    expected = predict_object_counts(vectors, labelled, counts[labelled], seed=0)[150:, 0]
    assert expected.std() < 0.5 * counts.std()
    assert (expected >= 0).all()


@pytest.mark.parametrize("labelled", [[0], [0, 0], [0, 1]])
def test_few_labelled_images_are_enough(labelled):
    vectors = np.array([[0.0], [1.0], [2.0]], np.float32)
    rows = np.array(labelled)
    expected = predict_object_counts(vectors, rows, np.array([[2, 0], [4, 0]])[: len(rows)], seed=0)
    assert np.isfinite(expected).all()
    assert ((expected >= 0) & (expected <= 5)).all()


def test_of_many_labelled_images_some_are_learnt_from(monkeypatch):
    vectors, counts = _images(200)
    monkeypatch.setattr("mgral.selection.object_counts.MOST", 30)
    monkeypatch.setattr("mgral.selection.object_counts.IMAGES_AT_A_TIME", 7)
    expected = predict_object_counts(vectors, np.arange(100), counts[:100], seed=0)
    np.testing.assert_allclose(expected[:, 0], counts[:, 0], atol=0.35)


def test_objects_are_counted_by_class_in_the_order_asked_for():
    dataset, _ = squares(3)
    labels = tuple(np.array(found, dtype=np.int64) for found in ([1, 0, 1], [], [1]))
    dataset = replace(dataset, categories=(*dataset.categories, Category(4, "circle")), labels=labels)
    assert dataset.object_counts([12, 10, 11]).tolist() == [[0, 1], [1, 2], [0, 0]]
    assert dataset.object_counts([]).shape == (0, 2)
    with pytest.raises(InputError, match="image ids"):
        dataset.object_counts([99])
