"""Training of the agent of `mgral`: policy gradient on the gains of a learned reward."""

import numpy as np
import numpy.typing as npt
import torch

from mgral.config import AgentConfig
from mgral.method.agent.batch_agent import (
    SMALLEST,
    AmountsReward,
    BatchAgent,
    build_batch_agent,
    draw_batches,
    log_probabilities,
)
from mgral.method.agent.episodes import Episode, Training, uniform_batches
from mgral.method.agent.policy import entropy
from mgral.training.checkpoint import Checkpoint

LEAST_CANDIDATES = 64
"""Least number of pool images from which the batches of an episode are drawn; three times a batch if that is more."""
LEARNT_STEPS = 0.5
"""Fraction of an episode's steps whose gradient is computed. All steps take more time and make no better agent."""


def train_batch_agent(
    embeddings: npt.NDArray[np.float32],
    reward: AmountsReward,
    config: AgentConfig,
    budget: int,
    seed: int,
    cycle: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[BatchAgent, list[Episode]]:
    """Train an agent to choose `budget` images of a pool with embeddings float32 [N, D], on the CPU.

    In each episode `config.samples` batches are drawn image by image from the same random images of the pool. They
    have at most `config.horizon` images: the agent's inputs do not depend on the size of the batch. The
    advantage of a choice is what its batch gains from that step on, less the mean of this over all batches of the
    episode. That is (S - 1) / S times the difference from the mean of the other batches (REINFORCE with them as
    baseline, Kool et al. 2019). Advantages are then divided by their standard deviation, so the factor has no effect.
    A random part of the steps is learnt from, `LEARNT_STEPS`. The learning rate falls linearly to 0, so the noise of
    the last gradients has little effect.

    Raises
    ------
    StepError
        If the loss is not finite.
    InputError
        If the checkpoint is damaged.
    """
    run = Training(lambda generator: build_batch_agent(embeddings, config.hidden, generator), config, seed, cycle)
    agent, count, pool = run.agent, config.samples, len(embeddings)
    size = min(budget, config.horizon)
    learnt_steps = max(1, round(LEARNT_STEPS * size))
    vectors = torch.from_numpy(embeddings)
    for episode in run.episodes(checkpoint):
        run.optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - (episode - 1) / config.episodes)
        random_rewards = reward.lookup(uniform_batches(pool, size, count, run.random_rng))
        candidates = run.order_rng.choice(pool, min(pool, max(LEAST_CANDIDATES, 3 * size)), replace=False)
        encoded = agent.encode(vectors[candidates])
        uniform = torch.rand(size, count, len(candidates), generator=run.generator, dtype=torch.float64)
        drawn = draw_batches(agent, reward, candidates, encoded, uniform)
        gains_to_go = drawn.worth[-1] - drawn.worth[:-1]
        centred = gains_to_go - gains_to_go.mean(axis=1, keepdims=True)
        advantages = torch.from_numpy((centred / max(centred.std(), SMALLEST)).astype(np.float32))
        steps = torch.randperm(size, generator=run.generator)[:learnt_steps]
        loss = -(advantages[steps] * log_probabilities(agent, encoded.hidden, drawn, steps)).mean()
        rewards = drawn.worth[-1]
        run.learn(loss, rewards, random_rewards, float(rewards.mean()), float(entropy(drawn.first)))
    return agent, run.log
