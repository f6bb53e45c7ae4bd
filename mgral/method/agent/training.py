"""Training the paper's agent: policy gradient on looked-up rewards of batches that are drawn from one pass."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.config import AgentConfig
from mgral.method.agent.episodes import Episode, Training, uniform_batches
from mgral.method.agent.network import Agent, build_agent
from mgral.method.agent.policy import entropy, log_probability, sample_batches
from mgral.method.lut.reward import Reward
from mgral.training.checkpoint import Checkpoint


def policy_loss(scores: Tensor, batches: Tensor, advantages: Tensor) -> Tensor:
    """Return -mean((mAP_i - mAP_ref) log pi(S_i)), the paper's policy gradient, for ordered batches [S, B]."""
    return -(advantages * log_probability(scores, batches)).mean()


def train_agent(
    embeddings: npt.NDArray[np.float32],
    table: Reward,
    config: AgentConfig,
    budget: int,
    seed: int,
    cycle: int,
    checkpoint: Checkpoint | None = None,
    device: str = "cpu",
) -> tuple[Agent, list[Episode]]:
    """Train an agent to choose `budget` images of the pool, float32 [N, D]; it comes back on the CPU.

    In each episode the pool passes in a new order, `config.samples` batches are drawn by the scores, and each is
    worth its looked-up mAP less the baseline: the mean of the episode before, or a moving average of those means.
    The first reference is the mean of batches drawn uniformly, which is what an untrained agent draws. The paper
    starts from the mAP without any batch; where that lies far from what batches are worth, as it does where their
    worth differs little, the first advantages are a hundred times the later ones, and Adam, which remembers their
    square, then takes hundreds of episodes to take a step.

    Raises
    ------
    StepError
        Where the loss is not finite.
    InputError
        On a damaged checkpoint.
    """
    run = Training(
        lambda generator: build_agent(embeddings, config.hidden, config.window, generator).to(device),
        config,
        seed,
        cycle,
    )
    agent = run.agent
    pool = agent.standardise(torch.from_numpy(embeddings).to(device))
    for _ in run.episodes(checkpoint):
        random_rewards = table.lookup(uniform_batches(len(pool), budget, config.samples, run.random_rng))
        baseline = _next_baseline(run.log[-1], config) if run.log else float(random_rewards.mean())
        order = run.order_rng.permutation(len(pool))
        scores = agent.score_standardised(pool[torch.from_numpy(order).to(device)])
        batches = sample_batches(scores, budget, config.samples, run.generator)
        rewards = table.lookup(order[batches.cpu().numpy()])
        advantages = torch.from_numpy(rewards - baseline).to(scores)
        loss = policy_loss(scores, batches, advantages)
        run.learn(loss, rewards, random_rewards, baseline, float(entropy(scores.detach())))
    return agent.cpu(), run.log


def _next_baseline(last: Episode, config: AgentConfig) -> float:
    if config.baseline == "previous":
        return last.reward
    return config.baseline_decay * last.baseline + (1 - config.baseline_decay) * last.reward
