"""Whether lookup tables know anything: the permutation test, on tables of truth and of noise."""

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.config import EmbeddingConfig, RewardConfig
from mgral.method.lut.regression import ERROR_RATE
from mgral.method.lut.reward import RewardTable
from mgral.method.lut.table import count_arrays
from mgral.method.lut.validation import held_out_gain, validate_tables

POOL, BUDGET, VARIANTS, CLASSES = 120, 12, 12, 5


@pytest.fixture(autouse=True)
def _fewer_permutations(monkeypatch):
    monkeypatch.setattr("mgral.method.lut.validation.VALIDATION_PERMUTATIONS", 99)


def tables_of(seed, signal, estimator="kernel"):
    """Two tables of an own draw of subsets, whose values are roots of counts times `signal`, and noise of 1 %."""
    rng = np.random.default_rng(seed)
    counts = rng.gamma(0.5, 2.0, size=(POOL, CLASSES))
    embeddings = made_embeddings(np.arange(POOL), np.zeros((POOL, 1)), counts)
    slopes = rng.uniform(0.5, 1.5, CLASSES)
    found = []
    for _ in range(2):
        weights = rng.dirichlet(np.full(CLASSES, 0.3), VARIANTS) @ counts.T + 0.05
        images = np.stack([rng.choice(POOL, BUDGET, replace=False, p=one / one.sum()) for one in weights])
        arrays = count_arrays(images, np.arange(CLASSES), embeddings)
        amounts = counts[images].mean(axis=1)
        values = 0.3 + signal * slopes * np.sqrt(amounts) + rng.normal(0, 0.01, (VARIANTS, CLASSES))
        arrays |= {"values": values, "map": values.mean(axis=1), "baseline_map": np.array([0.3])}
        table = RewardTable.of(arrays, RewardConfig(estimator=estimator))
        found.append(table.over(embeddings.features_of(np.arange(POOL), EmbeddingConfig())))
    return found


@pytest.mark.parametrize("estimator", ["nearest", "kernel"])
def test_tables_of_noise_are_taken_for_valid_no_more_often_than_the_error_rate(estimator):
    count = 40
    valid = [validate_tables(tables_of(seed, 0.0, estimator), POOL, BUDGET, seed, 0).valid for seed in range(count)]
    # Beyond this with a chance of 1 in 1000, were the rate exactly as stated.
    assert sum(valid) <= count * ERROR_RATE + 3.1 * np.sqrt(count * ERROR_RATE * (1 - ERROR_RATE))


@pytest.mark.parametrize("estimator", ["nearest", "kernel"])
def test_tables_that_know_what_is_worth_much_are_valid(estimator):
    found = [validate_tables(tables_of(seed, 0.03, estimator), POOL, BUDGET, seed, 0) for seed in range(5)]
    assert sum(one.valid for one in found) >= 4
    assert np.mean([one.held_out_gain for one in found]) > 0


def test_tables_that_contradict_each_other_are_not_valid():
    first, _ = tables_of(0, 0.03)
    opposite = type(first)(first.baseline_map, first.distances_of_rows, first.worth, -first.values)
    found = validate_tables([first, opposite], POOL, BUDGET, 0, 0)
    assert found.held_out_gain < 0
    assert not found.valid
    assert found.p_value > 0.5


def test_one_table_and_a_pool_that_is_taken_whole_are_not_tested():
    tables = tables_of(0, 0.03)
    assert validate_tables(tables[:1], POOL, BUDGET, 0, 0) is None
    assert validate_tables(tables, BUDGET, BUDGET, 0, 0) is None


def test_the_held_out_gain_by_hand(monkeypatch):
    monkeypatch.setattr("mgral.method.lut.validation.BEST", 1)
    # The second table ranks batch 2 best, of which the first says 0.5; the first ranks batch 0 best.
    rewards = np.array([[0.9, 0.1, 0.5], [0.2, 0.1, 0.6]])
    assert held_out_gain(rewards) == pytest.approx(((0.5 - 0.5) + (0.2 - 0.3)) / 2)
