"""Training the agent that sees its batch: policy gradient on the gains of a learned reward."""

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

HORIZON = 64
"""Images in a batch of an episode, at most: the agent scores by the state of a batch, and goes on beyond it."""
CANDIDATES = 128
"""Images of the pool that the batches of an episode are drawn from, or three times a batch where that is more."""
LEARNT_STEPS = 0.5
"""Part of an episode's steps whose gradient is taken: the rest costs more time than it brings."""


def train_batch_agent(
    embeddings: npt.NDArray[np.float32],
    reward: AmountsReward,
    config: AgentConfig,
    budget: int,
    seed: int,
    cycle: int,
    checkpoint: Checkpoint | None = None,
) -> tuple[BatchAgent, list[Episode]]:
    """Train an agent to choose `budget` images of the pool, float32 [N, D], on the CPU.

    In each episode `config.samples` batches are drawn image by image from the same random images of the pool. A
    choice is judged by what the batch gains from there on, less the mean of what the other batches gain from the same
    step on (REINFORCE with a leave-one-out baseline, Kool et al. 2019). The learning rate falls to 0 on a line, which
    leaves less of the gradient's noise in the agent.

    Raises
    ------
    StepError
        Where the loss is not finite.
    InputError
        On a damaged checkpoint.
    """
    run = Training(lambda generator: build_batch_agent(embeddings, config.hidden, generator), config, seed, cycle)
    agent, count, pool = run.agent, config.samples, len(embeddings)
    size = min(budget, HORIZON)
    learnt = max(1, round(LEARNT_STEPS * size))
    vectors = torch.from_numpy(embeddings)
    for episode in run.episodes(checkpoint):
        run.optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - (episode - 1) / config.episodes)
        random_rewards = reward.lookup(uniform_batches(pool, size, count, run.random_rng))
        candidates = run.order_rng.choice(pool, min(pool, max(CANDIDATES, 3 * size)), replace=False)
        seen = agent.see(vectors[candidates])
        uniform = torch.rand(size, count, len(candidates), generator=run.generator, dtype=torch.float64)
        drawn = draw_batches(agent, reward, candidates, seen, uniform)
        to_go = drawn.worth[-1] - drawn.worth[:-1]
        against = to_go - to_go.mean(axis=1, keepdims=True)
        advantages = torch.from_numpy((against / max(against.std(), SMALLEST)).astype(np.float32))
        steps = torch.randperm(size, generator=run.generator)[:learnt]
        loss = -(advantages[steps] * log_probabilities(agent, seen.hidden, drawn, steps)).mean()
        rewards = drawn.worth[-1]
        run.learn(loss, rewards, random_rewards, float(rewards.mean()), float(entropy(drawn.first)))
    return agent, run.log
