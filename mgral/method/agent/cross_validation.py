"""Training an agent, and whether what it learns from some tables is true in another, of other reward images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import choose_device
from mgral.config import AgentConfig, Config, images_in
from mgral.method.agent.network import Agent
from mgral.method.agent.training import Episode, train_agent, uniform_batches
from mgral.method.lut.reward import LookupTable, MeanReward, Reward
from mgral.selection.pool import check_pool
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


class TrainedAgent(NamedTuple):
    """An agent and how its training went."""

    agent: Agent
    log: list[Episode]
    summary: dict[str, float | int | None]
    """Content of `agent.json`; all mAP values 0 to 1."""


def train_validated_agent(
    config: Config,
    table: LookupTable,
    pool: npt.NDArray[np.int64],
    seed: int,
    cycle: int = 0,
    *,
    gpus: int = 0,
    checkpoint_of: Callable[[int | None], Checkpoint | None] = lambda left_out: None,
) -> TrainedAgent:
    """Train the agent on looked-up rewards, and check whether the tables agree.

    Of several tables, each is also compared with an agent that was trained on the others. Where such agents are no
    better than random batches, the tables contradict each other, the agent is not validated, and strategy `mgral`
    chooses at random.

    Parameters
    ----------
    pool
        Ids of the unlabelled images, int64 [N], ascending.
    gpus
        0 for the CPU, 1 for a GPU.
    checkpoint_of
        Gives the checkpoint of the agent, for None, and of the agent that is not trained on a table, by its number.

    Raises
    ------
    InputError
        Where the pool is smaller than the budget, and where that is in boxes (`in_images` turns it into images).
    """
    budget = images_in(config.budget)
    check_pool(pool, budget)
    device = choose_device(gpus).type
    features = table.features_of(pool)
    vectors, reward = features.vectors, table.over(features, device)
    shared = config.agent, budget, seed, cycle
    agent, log = train_agent(vectors, reward, *shared, checkpoint_of(None), device)
    gain = None
    if len(table.tables) > 1:
        checkpoints = [checkpoint_of(left_out) for left_out in range(len(table.tables))]
        gain = held_out_gain(vectors, reward.rewards, *shared, checkpoints, device)
        agent.validated.fill_(gain > 0)
    rng = np.random.default_rng(derive_seed(seed, "agent comparison", cycle))
    compared = compare_with_random(agent, vectors, reward, budget, rng)
    return TrainedAgent(agent, log, _summarise(compared, log, reward.baseline_map, gain))


def _summarise(
    compared: Comparison, log: list[Episode], baseline_map: float, held_out: float | None
) -> dict[str, float | int | None]:
    selected, mean, deviation = compared
    return {
        "selected_reward": selected,
        "random_mean": mean,
        "random_std": deviation,
        "random_batches": RANDOM_BATCHES,
        "standard_deviations_above": (selected - mean) / deviation if deviation > 0 else None,
        "held_out_gain": held_out,
        "baseline_map": baseline_map,
        "random_best_as_often": log[-1].random_best,
    }


def held_out_gain(
    vectors: npt.NDArray[np.float32],
    tables: Sequence[Reward],
    config: AgentConfig,
    budget: int,
    seed: int,
    cycle: int,
    checkpoints: Sequence[Checkpoint | None],
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
