"""Training of the paper's agent: policy gradient on the looked-up rewards of batches."""

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
    """Return the loss -mean(A_i log pi(S_i)) of the paper's policy gradient, a scalar.

    Parameters
    ----------
    scores
        Scores of the images, [N].
    batches
        Rows of the images in the order in which they were drawn, int64 [S, B].
    advantages
        A_i = mAP(S_i) - mAP_ref of each batch, [S].
    """
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
    """Train an agent to choose `budget` images of a pool with embeddings float32 [N, D]; return it on the CPU.

    In each episode the agent scores the pool in a new random order, and `config.samples` batches are drawn by these
    scores. The advantage of a batch is its looked-up mAP less the baseline. The baseline is the mean reward of the
    previous episode, or a moving average of such means.

    The first baseline is the mean reward of uniformly drawn batches, because an untrained agent draws nearly
    uniformly. The paper starts from the mAP without any batch. If batches differ little in mAP, that is far from all
    of them, and the first advantages can be a hundred times larger than later ones. Adam divides by an average of
    squared gradients, so its steps would then be tiny for hundreds of episodes.

    Raises
    ------
    StepError
        If the loss is not finite.
    InputError
        If the checkpoint is damaged.
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
