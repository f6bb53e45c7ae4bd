"""An agent that has hardly been trained chooses the greedy batch."""

import numpy as np
import pytest
from made_embeddings import made_embeddings

from benchmarks.agents import Problem
from mgral.config import AgentConfig
from mgral.method.lut.composition import FEATURES, Composition
from mgral.method.lut.learned import LearnedReward


def test_a_batch_is_compared_with_the_greedy_one():
    rng = np.random.default_rng(0)
    counts = rng.exponential(size=(160, 3))
    embeddings = made_embeddings(np.arange(160), rng.normal(size=(160, 5)), counts)
    composition = Composition.of(embeddings)
    labelled, pool = composition.totals(np.arange(40)), composition.of_images(np.arange(40, 160))
    reward = LearnedReward(0.3, np.full((3, len(FEATURES)), 0.02), composition, labelled, pool)
    problem = Problem(embeddings.components[40:], reward, 16)
    untrained = problem.train(AgentConfig(episodes=1, learning_rate=1e-6), 0)
    assert untrained.relative_gain == pytest.approx(1, abs=0.01)
    assert untrained.shared > 0.9
    spoilt = problem.train(AgentConfig(episodes=20, learning_rate=0.5), 0)
    assert spoilt.relative_gain < untrained.relative_gain
    assert spoilt.shared < untrained.shared
