"""MaxHerding and k-means on few points."""

import numpy as np
import pytest
from made_embeddings import made_embeddings
from told_detector import told_query

from mgral.selection.query import SAME_SCORES
from mgral.selection.selecting import choose
from mgral.selection.strategies import max_herding
from mgral.selection.strategies.k_means import middles
from mgral.selection.strategies.max_herding import herd


def query(components, labelled=(), budget=1, seed=0):
    count = len(components)
    embeddings = made_embeddings(np.arange(count), components)
    return told_query([[[1.0, 0.0]]] * count, labelled=labelled, budget=budget, embeddings=embeddings, seed=seed)


def chosen(strategy, asked):
    return asked.pool[choose(strategy, asked).rows].tolist()


def test_the_image_that_all_are_near_to_comes_first():
    """Of 0, 1, 2 and 9 on a line 1 has exp(0) + 2 exp(-1); then 9 has 1, and 0 and 2 have 1 - exp(-1)."""
    choice = herd(*(np.float32([[0], [1], [2], [9]])[rows] for rows in (..., slice(0, 0), ...)), 4)
    assert choice.rows.tolist() == [1, 3, 0, 2]
    assert choice.scores == pytest.approx(
        [(1 + 2 / np.e) / 4, 1 / 4, (1 - 1 / np.e) / 4, (1 - 1 / np.e) / 4], abs=1e-6
    )


def test_what_is_near_to_a_labelled_image_is_covered():
    assert chosen("max_herding", query([[0], [0.1], [0.2], [5]], labelled=(1,))) == [3]
    assert chosen("max_herding", query([[0], [0.1], [0.2], [5]])) == [1]


@pytest.mark.parametrize("strategy", ["max_herding", "k_means"])
@pytest.mark.parametrize("seed", range(3))
def test_no_copies_are_chosen_while_others_differ(strategy, seed):
    points = 3 * np.random.default_rng(seed).normal(size=(10, 3))
    rows = np.random.default_rng(seed).permutation(np.repeat(np.arange(10), 4))
    found = chosen(strategy, query(points[rows], budget=10, seed=seed))
    assert sorted(rows[found].tolist()) == list(range(10))


@pytest.mark.parametrize("strategy", ["max_herding", "k_means"])
def test_as_many_as_asked_where_most_are_copies(strategy):
    found = chosen(strategy, query([[0], [0], [0], [0], [5]], budget=4))
    assert len(set(found)) == 4
    assert 4 in found[:2]


@pytest.mark.parametrize("strategy", ["max_herding", "k_means"])
def test_images_that_are_all_alike_are_drawn_at_random(strategy):
    asked = query(np.ones((40, 2)), labelled=(1,), budget=4)
    choice = choose(strategy, asked)
    assert choice.reason == SAME_SCORES
    assert sorted(choice.rows) != [0, 1, 2, 3]


def test_other_ids_change_nothing():
    rng = np.random.default_rng(0)
    points, shuffled = rng.normal(size=(50, 3)), rng.permutation(50)
    first, again = (chosen("max_herding", query(one, budget=8)) for one in (points, points[shuffled]))
    assert shuffled[again].tolist() == first


def test_a_sample_stands_for_many_images(monkeypatch):
    """Of three clumps, drawn by a quarter of the images, one image each is chosen."""
    clumps = np.repeat(np.arange(3), 40)
    points = 6 * np.eye(3)[clumps] + 0.3 * np.random.default_rng(0).normal(size=(120, 3))
    monkeypatch.setattr(max_herding, "REFERENCES", 30)
    found = chosen("max_herding", query(points, budget=3))
    assert sorted(clumps[found].tolist()) == [0, 1, 2]
    assert found == chosen("max_herding", query(points, budget=3))
    others = {tuple(chosen("max_herding", query(points, budget=3, seed=seed))) for seed in range(5)}
    assert len(others) > 1  # each seed draws its own sample


def test_the_image_in_the_middle_of_each_cluster_by_hand():
    """Means are 2 of the first cluster, 10.5 of the second and 20 of the third, the largest first."""
    pool = np.float32([[0], [10], [1.5], [11.2], [20], [10.3], [4.5]])
    choice = middles(pool, np.array([4, 7, 4, 7, 9, 7, 4]), 5)
    # Then the second nearest of each cluster: 0 is 2 from its mean, 10 is 0.5 from its own.
    assert choice.rows.tolist() == [2, 5, 4, 0, 1]
    assert choice.scores.tolist() == [3, 3, 1, 3, 3]


@pytest.mark.parametrize("seed", range(3))
def test_k_means_takes_one_of_each_clump(seed):
    clumps = np.random.default_rng(seed).permutation(np.repeat(np.arange(4), 12))
    points = 40 * np.eye(4)[clumps] + np.random.default_rng(seed).normal(size=(48, 4))
    found = chosen("k_means", query(points, labelled=(0,), budget=4, seed=seed))
    assert sorted(clumps[found].tolist()) == [0, 1, 2, 3]
    for row in found:
        same = points[np.flatnonzero(clumps == clumps[row])]
        distances = np.linalg.norm(same - same.mean(axis=0), axis=1)
        assert np.linalg.norm(points[row] - same.mean(axis=0)) <= np.sort(distances)[2]
