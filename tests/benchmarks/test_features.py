"""Descriptions of a set of images, by hand, and that the comparison finds the one that the values follow."""

import numpy as np
import pytest
from made_embeddings import made_embeddings

from benchmarks.features import NAMES, Seed, describe
from mgral.data.dataset import Category, Dataset
from mgral.method.lut.composition import FEATURES, Composition
from mgral.method.lut.regression import Sample

DATA = Dataset(
    image_ids=np.array([1, 2, 3]),
    file_names=("a", "b", "c"),
    sizes=np.array([[100, 100]] * 3),
    categories=(Category(1, "car"), Category(2, "dog"), Category(3, "cow")),
    boxes=(
        np.array([[0, 0, 10, 10], [0, 0, 40, 40]], np.float32),
        np.array([[0, 0, 20, 5]], np.float32),
        np.empty((0, 4), np.float32),
    ),
    labels=(np.array([0, 1]), np.array([0]), np.empty(0, np.int64)),
)


def test_descriptions_by_hand():
    counts = DATA.object_counts(DATA.image_ids)
    composition = Composition.of(made_embeddings(DATA.image_ids, np.eye(3), counts))
    found = describe(DATA.image_ids, DATA, composition, {1: 0, 2: 0}, {1: 0.5, 2: 0.1, 3: 0.3})
    assert set(found) == set(NAMES)
    assert np.exp(found["objects"]) - 1 == pytest.approx([2, 1, 0])
    assert np.exp(found["price"]) - 1 == pytest.approx([3, 3, 3])
    assert found["copies"] == pytest.approx([1 / 3] * 3)
    assert found["uncertainty"] == pytest.approx([0.3] * 3)
    assert np.exp(found["size"]) == pytest.approx([0.1, 0.4, 0.2])  # no cow: the mean of all boxes
    assert np.exp(found["company"]) - 1 == pytest.approx([0.5, 1, 1 / 3])  # no cow: the mean of all images


@pytest.mark.parametrize("followed", ["size", "price"])
def test_the_description_that_the_values_follow_predicts_them(followed):
    rng = np.random.default_rng(0)
    samples = [{name: rng.normal(size=(24, 4)) for name in NAMES} for _ in range(2)]
    images = np.exp(rng.uniform(2, 5, size=24))
    tables = [
        Sample(np.zeros((24, 4, 3)), 0.1 * descriptions[followed] + 0.05 * np.log(images)[:, None], images)
        for descriptions in samples
    ]
    seed = Seed(samples, tables)
    without, _ = seed.predict(FEATURES)
    r_squared, rank = seed.predict([*FEATURES, followed])
    assert without < 0.2
    assert min(r_squared, rank) > 0.6
    assert seed.predict([followed])[0] > 0.9


def test_the_prior_ranks_variants_by_the_images_of_all_classes():
    rng = np.random.default_rng(0)
    images = np.exp(rng.uniform(2, 5, size=24))
    described = {name: rng.normal(size=(24, 4)) for name in NAMES}
    values = 0.1 * described["images"].mean(axis=1, keepdims=True) + 0.05 * np.log(images)[:, None] + np.zeros((1, 4))
    seed = Seed([described], [Sample(np.zeros((24, 4, 3)), values, images)])
    assert seed.rank_by_prior() == pytest.approx(1)
