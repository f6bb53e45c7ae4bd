"""Greedy choice: what it reaches of the best batch, and that bounds on gains change nothing."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.selection.query import drawn_order
from mgral.selection.strategies.max_herding import herd
from mgral.selection.strategies.roots import greedy_by_roots
from mgral.selection.submodular import greedy

SHARE = 1 - 1 / np.e
"""Of the best batch's value, which a greedy one reaches (Nemhauser, Wolsey, Fisher 1978)."""


def roots(labelled, brought, rows):
    """Return what a batch adds to the sum of the classes' roots."""
    return float((np.sqrt(labelled + brought[list(rows)].sum(axis=0)) - np.sqrt(labelled)).sum())


def best_of(images, budget, value):
    return max(value(rows) for rows in combinations(range(images), budget))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 3))
def test_roots_reach_their_share_of_the_best_batch(seed, classes, budget):
    rng = np.random.default_rng(seed)
    labelled = rng.integers(0, 4, classes)
    brought = rng.poisson(1, (7, classes)) * rng.random((7, classes))
    found = greedy_by_roots(labelled, brought, np.ones(7), budget)
    reached = roots(labelled, brought, found.rows)
    assert found.scores.sum() == pytest.approx(reached)
    assert reached >= SHARE * best_of(7, budget, lambda rows: roots(labelled, brought, rows)) - 1e-9


def coverage(vectors, rows):
    squares = np.square(vectors[:, None].astype(float) - vectors[list(rows)]).sum(axis=2)
    return float(np.exp(-squares).max(axis=1).mean())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_herding_reaches_its_share_of_the_best_batch(seed, budget):
    vectors = np.random.default_rng(seed).normal(size=(8, 2)).astype(np.float32)
    found = herd(vectors, vectors[:0], vectors, budget)
    reached = coverage(vectors, found.rows)
    assert found.scores.sum() == pytest.approx(reached, abs=1e-6)
    assert reached >= SHARE * best_of(8, budget, lambda rows: coverage(vectors, rows)) - 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_bounds_change_no_choice(seed):
    """Compared with gains of all images computed anew each time, with many images of equal gains."""
    rng = np.random.default_rng(seed)
    brought = rng.poisson(0.4, (300, 4)).astype(float)
    present, asked, expected = np.zeros(4), [], []

    def gains(rows):
        asked.append(len(rows))
        return (np.sqrt(present + brought[rows]) - np.sqrt(present)).sum(axis=1)

    def add(row):
        present[:] += brought[row]

    found = greedy(gains, add, 300, 60)
    shown = sum(asked)
    present[:] = 0
    order = drawn_order(300)
    for _ in range(60):
        now = gains(np.arange(300))
        now[expected] = -1
        expected.append(int(order[now[order].argmax()]))
        add(expected[-1])
    assert found.rows.tolist() == expected
    assert shown < 300 * 60 / 2


def test_all_of_a_pool_are_chosen_once():
    found = greedy_by_roots(np.zeros(1, np.int64), np.ones((40, 1)), np.ones(40), 40)
    assert sorted(found.rows) == list(range(40))
    assert found.undecided
