"""Training an agent on looked-up rewards, if the lookup tables are better than shuffled ones."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import choose_device
from mgral.config import Config, images_in
from mgral.method.agent.network import Agent
from mgral.method.agent.training import Episode, train_agent, uniform_batches
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.reward import AnyTables, Reward
from mgral.method.lut.validation import Validation, validate
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
    table: AnyTables,
    pool: npt.NDArray[np.int64],
    seed: int,
    cycle: int = 0,
    *,
    gpus: int = 0,
    checkpoint: Checkpoint | None = None,
) -> TrainedAgent:
    """Train the agent on looked-up rewards, and test whether the tables of several reward splits are valid.

    Where they agree no better than shuffled ones, the agent is not validated, and strategy `mgral` chooses at random.

    Parameters
    ----------
    pool
        Ids of the unlabelled images, int64 [N], ascending.
    gpus
        0 for the CPU, 1 for a GPU.

    Raises
    ------
    InputError
        Where the pool is smaller than the budget, and where that is in boxes (`in_images` turns it into images).
    """
    budget = images_in(config.budget)
    check_pool(pool, budget)
    device = choose_device(gpus).type
    vectors = table.embeddings.features_of(pool, config.embedding).vectors
    reward = table.over(pool, device)
    agent, log = train_agent(vectors, reward, config.agent, budget, seed, cycle, checkpoint, device)
    validation = validate(table, reward, len(pool), budget, seed, cycle)
    if validation:
        agent.validated.fill_(validation.valid)
    rng = np.random.default_rng(derive_seed(seed, "agent comparison", cycle))
    compared = compare_with_random(agent, vectors, reward, budget, rng)
    summary = _summarise(compared, log, reward.baseline_map, validation)
    if isinstance(table, LearnedTables):
        summary["p_value"] = table.regression.p_value
    return TrainedAgent(agent, log, summary)


def _summarise(
    compared: Comparison, log: list[Episode], baseline_map: float, validation: Validation | None
) -> dict[str, float | int | None]:
    selected, mean, deviation = compared
    return {
        "selected_reward": selected,
        "random_mean": mean,
        "random_std": deviation,
        "random_batches": RANDOM_BATCHES,
        "standard_deviations_above": (selected - mean) / deviation if deviation > 0 else None,
        "held_out_gain": validation.held_out_gain if validation else None,
        "p_value": validation.p_value if validation else None,
        "baseline_map": baseline_map,
        "random_best_as_often": log[-1].random_best,
    }
