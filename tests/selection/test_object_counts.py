"""Objects to expect in an image: as many as labelled images hold that it looks like."""

from dataclasses import replace

import numpy as np
import pytest
from made_embeddings import made_embeddings
from squares import squares

from mgral.data.dataset import Category, Dataset
from mgral.errors import InputError
from mgral.selection.object_counts import count_again, predict_object_counts


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


def test_embeddings_of_cycle_0_count_by_all_labels_of_a_later_cycle() -> None:
    vectors = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    boxes = [np.zeros((int(count), 4), np.float32) for count in 2 + 2 * (vectors[:, 0] > 0)]
    labels = [np.zeros(len(one), np.int64) for one in boxes]
    ids = np.arange(60) + 3
    sizes = np.full((60, 2), 8)
    dataset = Dataset(ids, tuple(map(str, ids)), sizes, (Category(1, "a"),), tuple(boxes), tuple(labels))
    start = count_again(made_embeddings(ids, vectors), dataset, ids[:6], seed=0)
    assert start.counted.tolist() == ids[:6].tolist()
    assert count_again(start, dataset, ids[:6][::-1], seed=0) is start
    assert count_again(start, dataset, ids[:0], seed=0) is start
    later = count_again(start, dataset, ids[:30], seed=0)
    np.testing.assert_array_equal(later.components, start.components)
    truth = dataset.object_counts(ids[30:])
    errors = [np.square(one.counts[30:] - truth).mean() for one in (start, later)]
    assert errors[1] < errors[0]
    # What is paid for is known.
    np.testing.assert_array_equal(later.counts[:30], dataset.object_counts(ids[:30]))
    # In one step or in two: what was counted before does not matter.
    np.testing.assert_array_equal(
        later.counts, count_again(made_embeddings(ids, vectors), dataset, ids[:30], 0).counts
    )
    # Labels of the pool are not read.
    hidden = count_again(start, dataset.without_labels(ids[30:]), ids[:30], 0)
    np.testing.assert_array_equal(hidden.counts, later.counts)
    np.testing.assert_array_equal(hidden.presence, later.presence)


def test_whether_an_image_shows_a_class_is_predicted_beside_how_many_objects() -> None:
    """Images that lie to the right show three objects, the others none; the labels of the first 30 are known."""
    vectors = np.random.default_rng(1).choice([-1.0, 1.0], (60, 1)) + np.linspace(0, 0.1, 60)[:, None]
    shown = vectors[:, 0] > 0.5
    labels = [np.zeros(3 * int(one), np.int64) for one in shown]
    boxes = tuple(np.zeros((len(one), 4), np.float32) for one in labels)
    ids = np.arange(60)
    dataset = Dataset(ids, tuple(map(str, ids)), np.full((60, 2), 8), (Category(1, "a"),), boxes, tuple(labels))
    found = count_again(made_embeddings(ids, vectors), dataset, ids[:30], seed=0)
    np.testing.assert_array_equal(found.presence[:30, 0], shown[:30])
    np.testing.assert_allclose(found.presence[30:, 0], shown[30:], atol=0.1)
    assert found.presence.max() <= 1
    np.testing.assert_allclose(found.counts[30:, 0], 3 * shown[30:], atol=0.3)
