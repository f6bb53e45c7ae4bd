"""What a set of images is made of: amounts that add up, and features by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_embeddings import made_embeddings

from mgral.errors import InputError
from mgral.method.lut.composition import FEATURES, Composition

COUNTS = np.array([[2, 0], [0, 3], [1, 1]], float)
IDS = np.array([7, 8, 9])


def described(counts, places, ids=None):
    """Return the composition of images with these objects, at these places on a line."""
    ids = np.arange(len(counts)) if ids is None else ids
    return Composition.of(made_embeddings(ids, np.asarray(places, float)[:, None], counts))


def features_of(composition, ids):
    """Return the features of a set of images, [C], by their names."""
    return dict(zip(FEATURES, composition.features(composition.totals(ids)).T, strict=True))


def test_the_features_of_three_images_by_hand():
    """Two images at one place, one far away: two kinds, of which two images and one."""
    found = features_of(described(COUNTS, [0, 9, 0], IDS), IDS)
    np.testing.assert_allclose(found["images"], np.log1p([2, 2]))
    np.testing.assert_allclose(found["crowding"], np.log1p(7 / 3), rtol=1e-6)
    np.testing.assert_allclose(found["variety"], np.log((np.sqrt(2) + 1) / np.sqrt(3)))


def test_the_roots_of_the_objects_of_each_class_by_hand():
    composition = described(COUNTS, [0, 9, 0], IDS)
    np.testing.assert_allclose(composition.roots(composition.totals(IDS)), np.sqrt([3, 4]))


def test_an_image_without_an_embedding_is_an_error_naming_it():
    with pytest.raises(InputError, match=r"images \[1\] have no embedding"):
        described(COUNTS, [0, 9, 0], IDS).totals([7, 1])


def test_no_image_has_features_of_0():
    composition = described(COUNTS, [0, 9, 0])
    np.testing.assert_array_equal(composition.features(composition.totals([])), np.zeros((2, len(FEATURES))))


def test_features_with_an_image_added_are_those_of_the_larger_set():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, (50, 2))
    composition = described(counts, rng.normal(size=50))
    totals = np.stack([composition.totals(ids) for ids in ([], [3], range(20, 50))])
    added = composition.of_images(range(20)).astype(float)
    found = composition.separate_features_with_each(totals, added)
    for one, expected in zip(found, composition.separate_features(totals[:, None] + added), strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-12)


def test_amounts_add_up_over_sets():
    composition = described(COUNTS, [0, 9, 4], IDS)
    np.testing.assert_array_equal(composition.totals(IDS), composition.totals([9]) + composition.totals([7, 8]))
    np.testing.assert_array_equal(
        composition.of_images([[9, 7]]), [[composition.totals([9]), composition.totals([7])]]
    )


def test_crowding_is_objects_in_an_image_however_many_images():
    twice = described(np.tile(COUNTS, (2, 1)), [0, 9, 4] * 2)
    one, both = features_of(twice, range(3)), features_of(twice, range(6))
    np.testing.assert_allclose(both["crowding"], one["crowding"])
    assert (both["images"] > one["images"]).all()
    fuller = features_of(described(2 * COUNTS, [0, 9, 4]), range(3))
    assert (fuller["crowding"] > one["crowding"]).all()


def test_variety_is_0_of_one_kind_and_most_where_kinds_are_even():
    composition = described(np.ones((8, 1)), [0, 0, 0, 0, 5, 5, 5, 5])
    variety = [features_of(composition, ids)["variety"][0] for ids in ([0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 4, 5])]
    assert variety[0] == 0 < variety[1] < variety[2]
    assert variety[2] == pytest.approx(np.log(2) / 2)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=8), st.data())
def test_one_more_image_never_lowers_the_images_of_a_class(counts, data):
    composition = described(np.array(counts, float), range(len(counts)))
    order = data.draw(st.permutations(range(len(counts))))
    fewer, more = features_of(composition, order[:-1]), features_of(composition, order)
    shown = np.array(counts[order[-1]]) > 0
    assert (more["images"] >= fewer["images"]).all()
    np.testing.assert_array_equal(more["images"] > fewer["images"], shown)
