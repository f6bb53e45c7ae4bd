"""Whether what an agent learns from some tables is true in another, which measured on other images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config import AgentConfig
from mgral.method.agent.network import Agent
from mgral.method.agent.training import train_agent, uniform_batches
from mgral.method.lut.reward import MeanReward, Reward
from mgral.selection.query import highest
from mgral.training.checkpoint import Checkpoint

RANDOM_BATCHES = 200
"""Uniform batches that an agent's batch is compared with."""


class Comparison(NamedTuple):
    """An agent's batch beside uniform ones, by looked-up mAP, 0 to 1."""

    selected: float
    random_mean: float
    random_std: float


def compare_with_random(
    agent: Agent, vectors: npt.NDArray[np.float32], reward: Reward, budget: int, rng: np.random.Generator
) -> Comparison:
    """Look up the agent's highest scores of the pool, float32 [N, D], and uniform batches of as many images."""
    selected = reward.lookup(highest(agent.score_pool(vectors), budget)[None])
    uniform = reward.lookup(uniform_batches(len(vectors), budget, RANDOM_BATCHES, rng))
    return Comparison(float(selected[0]), float(uniform.mean()), float(uniform.std(ddof=1)))


def held_out_gain(
    vectors: npt.NDArray[np.float32],
    tables: Sequence[Reward],
    config: AgentConfig,
    budget: int,
    seed: int,
    cycle: int,
    checkpoints: Sequence[Checkpoint],
    device: str = "cpu",
) -> float:
    """Return by how much agents are above uniform batches in tables that they have not been trained on, in mAP.

    For each table an agent is trained on the others, and its batch looked up in that one: the mean over the tables.
    At most 0, what an agent learns from these tables is their error.

    Parameters
    ----------
    vectors
        Of the pool, float32 [N, D].
    tables
        At least two.
    checkpoints
        Of the agents, as many as tables.
    """
    gains = []
    for left_out, checkpoint in enumerate(checkpoints):
        others = MeanReward([table for index, table in enumerate(tables) if index != left_out])
        agent, _ = train_agent(vectors, others, config, budget, seed, cycle, checkpoint, device)
        rng = np.random.default_rng(derive_seed(seed, "held-out comparison", cycle, left_out))
        found = compare_with_random(agent, vectors, tables[left_out], budget, rng)
        gains.append(found.selected - found.random_mean)
    return float(np.mean(gains))
