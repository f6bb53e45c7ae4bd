"""Training of an agent, and the test whether its lookup tables are better than tables with shuffled values."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import choose_device
from mgral.config import Config, images_in
from mgral.errors import InputError
from mgral.method.agent.batch_agent import BatchAgent, choose_batch
from mgral.method.agent.batch_training import train_batch_agent
from mgral.method.agent.episodes import Episode, uniform_batches
from mgral.method.agent.network import Agent
from mgral.method.agent.training import train_agent
from mgral.method.greedy import choose_greedily
from mgral.method.lut.learned import LearnedReward, LearnedTables
from mgral.method.lut.reward import AnyTables, Reward
from mgral.method.lut.validation import Validation, validate
from mgral.selection.pool import check_pool
from mgral.selection.query import highest
from mgral.training.checkpoint import Checkpoint

RANDOM_BATCHES = 200
"""Number of uniformly drawn batches with which the agent's batch is compared."""


class AgainstRandom(NamedTuple):
    """Looked-up mAP of an agent's batch and of uniformly drawn batches."""

    selected: float
    """Looked-up mAP of the agent's batch."""
    random_mean: float
    random_std: float
    """Sample standard deviation over the uniform batches."""


def compare_with_random(
    rows: npt.NDArray[np.int64], reward: Reward, pool: int, rng: np.random.Generator
) -> AgainstRandom:
    """Look up a batch, rows int64 [B] of a pool of N images, and uniformly drawn batches of the same size."""
    selected = reward.lookup(rows[None])
    uniform = reward.lookup(uniform_batches(pool, len(rows), RANDOM_BATCHES, rng))
    return AgainstRandom(float(selected[0]), float(uniform.mean()), float(uniform.std(ddof=1)))


class TrainedAgent(NamedTuple):
    """A trained agent with the log and the summary of its training."""

    agent: Agent | BatchAgent
    log: list[Episode]
    summary: dict[str, float | int | None]
    """Content of `agent.json`; 1 is an mAP of 100 %."""


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
    """Train the agent on looked-up rewards, and test the lookup tables.

    If tables are looked up by distance and agree no better than tables with shuffled values, the paper's agent is
    marked as not validated, and its strategy chooses at random.

    Parameters
    ----------
    pool
        Ids of the unlabelled images, int64 [N], ascending.
    gpus
        0 for the CPU, 1 for a GPU. Agents of the policy `batch` are always trained on the CPU.

    Raises
    ------
    InputError
        If the pool is smaller than the budget, if the budget is in boxes (`in_images` converts it to images), or if
        the agent's policy is `batch` and the reward is not learned by regression.
    """
    budget = images_in(config.budget)
    check_pool(pool, budget)
    device = choose_device(gpus).type
    vectors = table.embeddings.features_of(pool, config.embedding).vectors
    reward = table.over(pool, device)
    agent: Agent | BatchAgent
    if config.agent.policy == "lstm":
        agent, log = train_agent(vectors, reward, config.agent, budget, seed, cycle, checkpoint, device)
        rows = highest(agent.score_pool(vectors), budget)
    elif isinstance(reward, LearnedReward):
        agent, log = train_batch_agent(vectors, reward, config.agent, budget, seed, cycle, checkpoint)
        rows = choose_batch(agent, reward, vectors, budget, seed, cycle).rows
    else:
        raise InputError("agent.policy: batch needs reward.estimator: regression; set agent.policy: lstm")
    validation = validate(table, reward, len(pool), budget, seed, cycle)
    if validation and isinstance(agent, Agent):
        agent.validated.fill_(validation.valid)
    rng = np.random.default_rng(derive_seed(seed, "agent comparison", cycle))
    comparison = compare_with_random(rows, reward, len(pool), rng)
    random_best = log[-1].random_best
    if (
        isinstance(agent, BatchAgent) and budget > config.agent.horizon
    ):  # the batches in its log are smaller than the budget
        batches = uniform_batches(len(pool), budget, config.agent.episodes * config.agent.samples, rng)
        random_best = float(reward.lookup(batches).max())
    summary = {
        **_summarise(comparison, validation),
        "baseline_map": reward.baseline_map,
        "random_best_as_often": random_best,
    }
    if isinstance(table, LearnedTables):
        greedy_rng = np.random.default_rng(derive_seed(seed, "mgral_greedy", cycle))
        summary["greedy_reward"] = float(choose_greedily(reward, len(pool), budget, greedy_rng).scores[-1])
        summary["p_value"] = table.regression.p_value
    return TrainedAgent(agent, log, summary)


def _summarise(compared: AgainstRandom, validation: Validation | None) -> dict[str, float | int | None]:
    selected, mean, deviation = compared
    return {
        "selected_reward": selected,
        # Not computed for tables by distance, where a greedy choice can take as long as the training.
        "greedy_reward": None,
        "random_mean": mean,
        "random_std": deviation,
        "random_batches": RANDOM_BATCHES,
        "standard_deviations_above": (selected - mean) / deviation if deviation > 0 else None,
        "held_out_gain": validation.held_out_gain if validation else None,
        "p_value": validation.p_value if validation else None,
    }
