"""Distances against hand-solved cases, SciPy, POT's own sliced distance, and the axioms of a metric."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from mgral.method.lut.torch_distance import PoolSlicedDistance
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, exact_distance, project_and_sort


def _sets(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _sliced(first: np.ndarray, second: np.ndarray, projections: np.ndarray) -> float:
    return float(SlicedDistance(projections, project_and_sort(second[None], projections))(first[None])[0, 0])


def test_exact_distance_solves_the_assignment_that_a_greedy_match_gets_wrong():
    # (0,0)->(0,3) and (4,0)->(4,1) cost 3 + 1; the crossing plan costs sqrt(17) + 5.
    first = np.array([[0, 0], [4, 0]], dtype=np.float32)
    second = np.array([[4, 1], [0, 3]], dtype=np.float32)
    assert exact_distance(first, second) == pytest.approx(2.0)


def test_exact_distance_splits_the_mass_of_sets_of_different_size():
    first = np.array([[0.0], [10.0]], dtype=np.float32)
    second = np.array([[0.0], [1.0], [10.0]], dtype=np.float32)
    # Half at 0 serves the third at 0 and a sixth at 1; the other sixth at 1 comes from 10.
    assert exact_distance(first, second) == pytest.approx(1 / 6 * 1 + 1 / 6 * 9)


@pytest.mark.parametrize(("size", "other"), [(7, 7), (7, 5), (4, 8), (1, 6), (6, 1)])
def test_in_one_dimension_exact_sliced_and_scipy_agree(size, other):
    first, second = _sets(0, size, 1), _sets(1, other, 1) + 0.5
    expected = wasserstein_distance(first[:, 0], second[:, 0])
    assert exact_distance(first, second) == pytest.approx(expected, rel=1e-5)
    assert _sliced(first, second, np.ones((1, 1), dtype=np.float32)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("size", "other"), [(12, 12), (12, 9)])
def test_sliced_distance_is_pots_own(size, other):
    from ot.sliced import sliced_wasserstein_distance

    projections = draw_projections(5, 16, np.random.default_rng(3))
    first, second = _sets(0, size, 5), _sets(1, other, 5) * 2
    expected = sliced_wasserstein_distance(first, second, projections=projections, p=1)
    assert _sliced(first, second, projections) == pytest.approx(float(expected), rel=1e-5)


def test_batches_and_sets_are_not_mixed_up():
    projections = draw_projections(3, 8, np.random.default_rng(0))
    batches, subsets = _sets(0, 4, 6, 3), _sets(1, 5, 6, 3)
    together = SlicedDistance(projections, project_and_sort(subsets, projections))(batches)
    alone = [[_sliced(batch, subset, projections) for subset in subsets] for batch in batches]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_without_directions_columns_are_compared_as_they_are():
    batches, subsets = _sets(0, 4, 6, 3), _sets(1, 5, 9, 3)
    found = SlicedDistance(None, np.sort(subsets, axis=1)).along_directions(batches)
    by_scipy = [
        [[wasserstein_distance(batch[:, c], subset[:, c]) for c in range(3)] for subset in subsets]
        for batch in batches
    ]
    np.testing.assert_allclose(found, by_scipy, rtol=1e-5)


def test_chunks_do_not_change_the_distance(monkeypatch):
    projections = draw_projections(3, 8, np.random.default_rng(0))
    distance = SlicedDistance(projections, project_and_sort(_sets(1, 5, 6, 3), projections))
    whole = distance(_sets(0, 2, 4, 3))
    monkeypatch.setattr("mgral.method.lut.wasserstein.CHUNK_VALUES", 1)
    np.testing.assert_allclose(distance(_sets(0, 2, 4, 3)), whole, rtol=1e-6)


@pytest.mark.parametrize("projected", [True, False])
@pytest.mark.parametrize(("size", "members"), [(6, 6), (9, 4), (1, 5)])
def test_torch_computes_the_same_distances_of_batches_of_a_pool(size, members, projected, monkeypatch):
    rng = np.random.default_rng(0)
    pool, subsets = _sets(0, 30, 3), _sets(1, 5, members, 3)
    projections = draw_projections(3, 8, rng) if projected else None
    presorted = np.sort(subsets, axis=1) if projections is None else project_and_sort(subsets, projections)
    sliced = SlicedDistance(projections, presorted)
    batches = np.stack([rng.choice(30, size, replace=False) for _ in range(4)])
    by_torch = PoolSlicedDistance(pool, sliced, "cpu")
    np.testing.assert_allclose(by_torch(batches), sliced(pool[batches]), rtol=1e-5)
    along = sliced.along_directions(pool[batches])
    np.testing.assert_allclose(by_torch.along_directions(batches), along, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(along.mean(axis=2), sliced(pool[batches]))
    alone = [by_torch(batch[None])[0] for batch in batches]
    monkeypatch.setattr("mgral.method.lut.torch_distance.CHUNK_VALUES", 1)
    np.testing.assert_allclose(by_torch(batches), alone, rtol=1e-6)


def test_directions_have_unit_length_and_no_preferred_side():
    directions = draw_projections(4, 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1, rtol=1e-6)
    assert np.abs(directions.mean(axis=1)).max() < 0.05


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 4))
def test_both_distances_are_metrics(seed, sizes, dimensions):
    first, second, third = (_sets(seed + i, size, dimensions) for i, size in enumerate(sizes))
    projections = draw_projections(dimensions, 6, np.random.default_rng(seed))

    def sliced(a, b):
        return _sliced(a, b, projections)

    for distance in (exact_distance, sliced):
        assert distance(first, second) >= 0
        assert distance(first, first[::-1].copy()) == pytest.approx(0, abs=1e-6)
        assert distance(first, second) == pytest.approx(distance(second, first), rel=1e-4, abs=1e-6)
        assert distance(first, third) <= distance(first, second) + distance(second, third) + 1e-5
    assert sliced(first, second) <= exact_distance(first, second) + 1e-5


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(-5, 5))
def test_a_shift_of_both_sets_changes_nothing_and_of_one_moves_it_by_its_length(seed, shift):
    first = _sets(seed, 6, 3)
    offset = np.array([shift, 0, 0], dtype=np.float32)
    assert exact_distance(first, first + offset) == pytest.approx(abs(shift), abs=1e-5)
    second = _sets(seed + 1, 6, 3)
    moved = exact_distance(first + offset, second + offset)
    assert moved == pytest.approx(exact_distance(first, second), abs=1e-4)
