"""The greedy choice by looked-up rewards, and what tables teach that counts do not."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.config import EmbeddingConfig, RewardConfig
from mgral.method.greedy import choose_greedily
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import MeanReward, RewardTable
from mgral.method.lut.table import VariantScores, table_arrays

RNG = np.random.default_rng(0)


def reward_of(counts, subsets, values, estimator="regression"):
    """A table over a pool of the images that are in no subset, and the counts of these."""
    embeddings = made_embeddings(np.arange(len(counts)), np.zeros((len(counts), 1)), counts)
    plan = SubsetPlan("labels", "warm", (), (), ((), *subsets))
    maps = np.array([0.1, *np.mean(values, axis=1)])
    scores = VariantScores(maps, np.vstack([np.full(len(values[0]), 0.1), values]))
    reward = RewardConfig(estimator=estimator)
    arrays, _ = table_arrays(scores, plan, embeddings, EmbeddingConfig(), reward, seed=0)
    pool = np.setdiff1d(np.arange(len(counts)), np.ravel(subsets))
    features = embeddings.features_of(pool, EmbeddingConfig())
    return MeanReward([RewardTable.of(arrays, reward).over(features)]), np.asarray(counts)[pool]


def rising(seed):
    """A table of two classes, the second of which is worth three times the first; 12 images of the pool."""
    counts = np.random.default_rng(seed).poisson(2, (24, 2)).astype(float)
    subsets = np.arange(12).reshape(4, 3)
    amounts = counts[subsets].mean(axis=1)
    return reward_of(counts, subsets, 0.2 + np.sqrt(amounts) * [0.01, 0.03])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("estimator", ["regression", "kernel"])
def test_the_batch_gains_at_least_1_less_1_over_e_of_the_best(seed, estimator):
    counts = np.random.default_rng(seed).poisson(2, (22, 2)).astype(float)
    subsets = np.arange(12).reshape(4, 3)
    values = 0.2 + np.sqrt(counts[subsets].mean(axis=1)) * [0.01, 0.03]
    reward, pool = reward_of(counts, subsets, values, estimator)
    choice = choose_greedily(reward, len(pool), 3, RNG)
    every = reward.lookup(np.array(list(combinations(range(len(pool)), 3))))
    worst, best = every.min(), every.max()
    (found,) = reward.lookup(choice.rows[None])
    assert found - worst >= (1 - 1 / np.e) * (best - worst) - 1e-12
    assert choice.scores[-1] == pytest.approx(found)


def test_as_much_as_counts_tell_it_chooses_by_what_the_variants_gained_and_not_by_counts():
    """The variants with many objects of the first class reached less; those of the second, more."""
    counts = np.array([[8, 0]] * 6 + [[0, 2]] * 6 + [[4, 1]] * 6 + [[9, 0], [0, 2], [6, 0], [0, 1], [0, 0]], float)
    subsets = np.arange(18).reshape(6, 3)
    values = np.array([[0.2, 0.1]] * 2 + [[0.4, 0.5]] * 2 + [[0.3, 0.3]] * 2)
    reward, pool = reward_of(counts, subsets, values)
    choice = choose_greedily(reward, len(pool), 2, RNG)
    assert pool[choice.rows].tolist() == [[0, 2], [0, 1]]
    by_roots = np.sqrt(pool).sum(axis=1)
    assert by_roots.argmax() not in choice.rows
    chosen, most = reward.lookup(np.array([choice.rows, np.argsort(-by_roots)[:2]]))
    assert chosen > most


def test_more_of_a_class_that_the_batch_has_is_worth_less():
    counts = np.array([[0, 4], [0, 4], [4, 0]], float)
    subsets = np.arange(12).reshape(4, 3)
    known = np.random.default_rng(1).poisson(2, (12, 2)).astype(float)
    amounts = known[subsets].mean(axis=1)
    reward, pool = reward_of(np.vstack([known, counts]), subsets, 0.2 + np.sqrt(amounts) * 0.02)
    choice = choose_greedily(reward, len(pool), 2, RNG)
    assert set(choice.rows.tolist()) in ({0, 2}, {1, 2})


def test_a_pool_without_differences_is_undecided():
    counts = np.vstack([np.random.default_rng(0).poisson(2, (12, 2)), np.ones((5, 2))]).astype(float)
    subsets = np.arange(12).reshape(4, 3)
    for estimator in ("regression", "kernel"):
        reward, pool = reward_of(counts, subsets, np.random.default_rng(0).random((4, 2)), estimator)
        assert choose_greedily(reward, len(pool), 2, RNG).undecided


def test_it_tries_as_many_images_as_the_time_allows(monkeypatch):
    reward, pool = rising(0)
    slow = MeanReward([_as_distance(one) for one in reward.rewards])
    whole = choose_greedily(slow, len(pool), 3, np.random.default_rng(0))
    monkeypatch.setattr("mgral.method.greedy.LOOKED_UP_IMAGES", 1)
    monkeypatch.setattr("mgral.method.greedy.FEWEST", 4)
    some = choose_greedily(slow, len(pool), 3, np.random.default_rng(0))
    assert len(set(some.rows.tolist())) == 3
    assert slow.lookup(some.rows[None]) <= slow.lookup(whole.rows[None]) + 1e-12


def _as_distance(reward):
    return type(reward)(reward.baseline_map, reward.of_rows, reward.worth, reward.values, by_amount=False)


@pytest.mark.parametrize("estimator", ["regression", "kernel"])
def test_many_batches_are_looked_up_in_parts(monkeypatch, estimator):
    """Distances of all images of a large pool to all variants, class by class, would take gigabytes."""
    counts = np.random.default_rng(0).poisson(2, (22, 2)).astype(float)
    values = 0.2 + np.random.default_rng(1).random((4, 2))
    mean, pool = reward_of(counts, np.arange(12).reshape(4, 3), values, estimator)
    (reward,), batches, at_once = mean.rewards, np.arange(len(pool))[:, None], []
    whole = reward.lookup(batches)

    def worth(described, of_variants):
        at_once.append(len(described))
        return reward.worth(described, of_variants)

    monkeypatch.setattr("mgral.method.lut.reward.LOOKED_UP_VALUES", 3 * values.size)
    assert (replace(reward, worth=worth).lookup(batches) == whole).all()
    assert at_once == [3, 3, 3, 1]
