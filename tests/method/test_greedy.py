"""The greedy choice by rewards, looked up by distance or learned."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.config import EmbeddingConfig, RewardConfig
from mgral.method.greedy import choose_by_price, choose_greedily
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import MeanReward, RewardTable
from mgral.method.lut.table import VariantScores, table_arrays

RNG = np.random.default_rng(0)
SUBSETS = np.arange(12).reshape(4, 3)
"""Of the first images; the others are the pool."""


def by_distance(counts):
    """A table by the kernel whose second class is worth three times the first, over the pool."""
    values = 0.2 + np.sqrt(counts[SUBSETS].mean(axis=1)) * [0.01, 0.03]
    embeddings = made_embeddings(np.arange(len(counts)), np.zeros((len(counts), 1)), counts)
    plan = SubsetPlan("labels", "warm", (), (), ((), *SUBSETS.tolist()))
    scores = VariantScores(np.array([0.1, *values.mean(axis=1)]), np.vstack([[0.1, 0.1], values]))
    reward = RewardConfig(estimator="kernel")
    arrays, _ = table_arrays(scores, plan, embeddings, EmbeddingConfig(), reward, seed=0)
    pool = embeddings.features_of(np.arange(12, len(counts)), EmbeddingConfig())
    return MeanReward([RewardTable.of(arrays, reward).over(pool)])


def by_prior(counts):
    """The prior of the regression, over the pool; the images of the subsets are labelled."""
    embeddings = made_embeddings(np.arange(len(counts)), np.zeros((len(counts), 1)), counts, counted=np.arange(12))
    return LearnedTables.of([], embeddings).over(np.arange(12, len(counts)))


REWARDS = pytest.mark.parametrize("reward_of", [by_distance, by_prior])


def counts_of(seed, images=22):
    return np.random.default_rng(seed).poisson(2, (images, 2)).astype(float)


@pytest.mark.parametrize("seed", range(5))
@REWARDS
def test_the_batch_gains_at_least_1_less_1_over_e_of_the_best(seed, reward_of):
    reward = reward_of(counts_of(seed))
    choice = choose_greedily(reward, 10, 3, RNG)
    every = reward.lookup(np.array(list(combinations(range(10), 3))))
    worst, best = every.min(), every.max()
    (found,) = reward.lookup(choice.rows[None])
    assert found - worst >= (1 - 1 / np.e) * (best - worst) - 1e-12
    assert choice.scores[-1] == pytest.approx(found)


def test_another_image_of_a_class_that_the_batch_has_is_worth_less():
    reward = by_prior(np.vstack([np.ones((12, 2)), [[0, 4], [0, 4], [4, 0]]]))
    assert choose_greedily(reward, 3, 2, RNG).rows.tolist() == [0, 2]


@REWARDS
def test_a_pool_without_differences_is_undecided(reward_of):
    reward = reward_of(np.vstack([counts_of(0, 12), np.ones((5, 2))]))
    assert choose_greedily(reward, 5, 2, RNG).undecided


@REWARDS
def test_it_tries_as_many_images_as_the_time_allows(reward_of, monkeypatch):
    reward, tried = reward_of(counts_of(0, 24)), []
    whole = choose_greedily(reward, 12, 3, np.random.default_rng(0))
    monkeypatch.setattr("mgral.method.greedy.TRIED_BY_DISTANCE", 1)
    monkeypatch.setattr("mgral.method.greedy.TRIED_IMAGES", 1)
    monkeypatch.setattr("mgral.method.greedy.FEWEST", 4)
    look_up = type(reward).with_each
    monkeypatch.setattr(type(reward), "with_each", lambda *given: tried.append(len(given[2])) or look_up(*given))
    some = choose_greedily(reward, 12, 3, np.random.default_rng(0))
    assert tried == [4, 4, 4]
    assert len(set(some.rows.tolist())) == 3
    assert reward.lookup(some.rows[None]) <= reward.lookup(whole.rows[None]) + 1e-12


def test_many_batches_are_looked_up_in_parts(monkeypatch):
    """Distances of all images of a large pool to all variants, class by class, would take gigabytes."""
    (reward,), batches, at_once = by_distance(counts_of(0)).rewards, np.arange(10)[:, None], []
    whole = reward.lookup(batches)

    def worth(described, of_variants):
        at_once.append(len(described))
        return reward.worth(described, of_variants)

    monkeypatch.setattr("mgral.method.lut.reward.LOOKED_UP_DISTANCES", 3 * reward.values.size)
    assert (replace(reward, worth=worth).lookup(batches) == whole).all()
    assert at_once == [3, 3, 3, 1]


@REWARDS
def test_by_price_the_best_for_its_price_comes_first_and_equal_prices_change_nothing(reward_of):
    reward = reward_of(counts_of(3))
    alike = choose_by_price(reward, 10, 4, RNG, price=np.full(10, 2.5))
    assert alike.rows.tolist() == choose_greedily(reward, 10, 4, RNG).rows.tolist()
    gains = reward.with_each(np.array([], np.int64), np.arange(10)) - reward.baseline_map
    price = np.random.default_rng(0).uniform(1, 9, 10)
    worth = np.where(gains > 0, gains / price, gains * price)
    assert choose_by_price(reward, 10, 1, RNG, price=price).rows.tolist() == [int(worth.argmax())]


def test_for_the_same_boxes_a_choice_by_price_is_rewarded_more():
    """Images show one of two classes, with one box or with twenty; a learned reward counts images of a class."""
    counts = np.vstack([np.ones((12, 2)), np.tile([[20, 0], [1, 0], [0, 20], [0, 1]], (5, 1))])
    reward, boxes = by_prior(counts), counts[12:].sum(axis=1)
    choice = choose_by_price(reward, 20, 8, RNG, price=1 + boxes)
    assert boxes[choice.rows].tolist() == [1] * 8
    (cheap,) = reward.lookup(choice.rows[None])
    assert cheap >= max(reward.lookup(np.arange(start, 20, 4)[None])[0] for start in (0, 2))
