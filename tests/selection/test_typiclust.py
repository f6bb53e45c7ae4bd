"""TypiClust by hand-worked numbers, and on images that form clear clusters."""

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.config import Config
from mgral.data.dataset import Category, Dataset
from mgral.selection.clusters import cluster
from mgral.selection.query import Query
from mgral.selection.selecting import choose
from mgral.selection.strategies.typiclust import typical_of_clusters, typicality

RING = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [0, 0], [9, 0]], np.float32)
"""Four points around a fifth, and one far away."""


def test_the_point_in_the_middle_is_most_typical():
    """With three neighbours: the middle has three at 1; the others of the ring 1, and the square root of 2 twice."""
    found = typicality(RING)
    assert found.argmax() == 4
    assert found[4] == pytest.approx(1 / (1 + 1e-5))
    assert found[0] == pytest.approx(1 / ((1 + 2 * np.sqrt(2)) / 3 + 1e-5))
    assert found.argmin() == 5


def test_clusters_without_labels_come_first_and_of_these_the_largest():
    """Cluster 0 has 6 images, 1 has 8, 2 has 7 and a labelled one, 3 is too small."""
    sizes = (6, 8, 7, 3)
    of_pool = np.repeat(np.arange(4), sizes)
    pool = np.random.default_rng(0).normal(size=(len(of_pool), 2)).astype(np.float32) + 100 * of_pool[:, None]
    found = typical_of_clusters(pool, of_pool, np.array([2]), 6)
    assert of_pool[found.rows].tolist() == [1, 0, 2, 3, 1, 0]  # then around again
    assert len(set(found.rows.tolist())) == 6
    assert typical_of_clusters(pool, of_pool, np.array([2]), len(pool)).rows.tolist() != []


def query(components, labelled, budget, seed=0):
    ids = np.arange(1, len(components) + 1)
    nothing = tuple(np.empty((0, 4), np.float32) for _ in ids), tuple(np.empty(0, np.int64) for _ in ids)
    sizes = np.full((len(ids), 2), 8)
    dataset = Dataset(ids, tuple(map(str, ids)), sizes, (Category(1, "thing"),), *nothing)
    known = np.array(labelled, dtype=np.int64)
    embeddings = made_embeddings(ids, components)
    config = Config(budget=budget)
    return Query(dataset, known, np.setdiff1d(ids, known), config, seed, 0, embeddings=embeddings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("labelled", [[], [1]])
def test_each_image_is_of_another_cluster_that_has_no_label(seed, labelled):
    blobs = np.repeat(np.arange(4), 10)
    components = 50 * np.eye(4)[blobs] + np.random.default_rng(seed).normal(size=(40, 4))
    asked = query(components, labelled, 4 - len(labelled), seed)
    found = choose("typiclust", asked)
    chosen = blobs[asked.pool[found.rows] - 1].tolist()
    assert sorted(chosen + [0] * len(labelled)) == [0, 1, 2, 3]


def test_equal_images_are_drawn_at_random():
    assert choose("typiclust", query(np.ones((6, 2)), [], 3)).reason is not None


def test_there_are_no_more_clusters_than_different_images():
    vectors = np.repeat(np.arange(3.0, dtype=np.float32)[:, None], 4, axis=0)
    assert len(set(cluster(vectors, 8, 0).tolist())) == 3


def test_many_clusters_are_made_by_small_batches():
    vectors = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    first, again = cluster(vectors, 60, 1), cluster(vectors, 60, 1)
    assert (first == again).all()
    assert 40 < len(set(first.tolist())) <= 60
