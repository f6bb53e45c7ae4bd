"""Training the agent: policy gradient on looked-up rewards."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from mgral.agent.network import Agent, build_agent
from mgral.agent.policy import entropy, log_probability, sample_batches
from mgral.artefacts import derive_seed
from mgral.config import AgentConfig
from mgral.errors import StepError
from mgral.lut.reward import Reward


class Episode(NamedTuple):
    """One line of `agent.csv`; all mAP values 0 to 1."""

    episode: int
    reward: float
    """Mean looked-up mAP of the episode's sampled batches."""
    best: float
    """Best looked-up mAP of a sampled batch so far."""
    random_reward: float
    """Mean looked-up mAP of as many uniformly drawn batches."""
    random_best: float
    """Best looked-up mAP of a uniformly drawn batch so far."""
    reference: float
    """mAP_ref that the episode's rewards were compared with."""
    loss: float
    entropy: float
    """Of the first draw, in nats."""
    gradient_norm: float


def uniform_batches(
    embeddings: npt.NDArray[np.float32], size: int, count: int, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return the embeddings [S, B, D] of batches drawn uniformly without replacement from [N, D]."""
    rows = [rng.choice(len(embeddings), size, replace=False, shuffle=False) for _ in range(count)]
    return embeddings[np.stack(rows)]


def policy_loss(scores: Tensor, batches: Tensor, advantages: Tensor) -> Tensor:
    """Return -mean((mAP_i - mAP_ref) log pi(S_i)), the paper's policy gradient, for ordered batches [S, B]."""
    return -(advantages * log_probability(scores, batches)).mean()


def train_agent(
    embeddings: npt.NDArray[np.float32], table: Reward, config: AgentConfig, budget: int, seed: int, cycle: int
) -> tuple[Agent, list[Episode]]:
    """Train an agent to choose `budget` images of the pool, float32 [N, D].

    In each episode the pool passes in a new order, `config.samples` batches are drawn by the scores, and each is
    worth its looked-up mAP less the reference: the mean of the episode before, or a moving average of those means.
    The first reference is the mean of batches drawn uniformly, which is what an untrained agent draws. The paper
    starts from the mAP without any batch; where that lies far from what batches are worth, as it does where their
    worth differs little, the first advantages are a hundred times the later ones, and Adam, which remembers their
    square, then takes hundreds of episodes to take a step.

    Raises
    ------
    StepError
        Where the loss is not finite.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "agent", cycle))
    order_rng = np.random.default_rng(derive_seed(seed, "agent pool order", cycle))
    random_rng = np.random.default_rng(derive_seed(seed, "agent random batches", cycle))
    agent = build_agent(embeddings, config.hidden, config.window, generator)
    optimizer = torch.optim.Adam(agent.parameters(), lr=config.learning_rate)
    reference = math.nan
    best = random_best = float("-inf")
    log = []
    for episode in tqdm(range(1, config.episodes + 1), desc="agent", unit="episode", disable=None):
        random_rewards = table.look_up(uniform_batches(embeddings, budget, config.samples, random_rng))
        if episode == 1:
            reference = float(random_rewards.mean())
        pool = embeddings[order_rng.permutation(len(embeddings))]
        scores = agent(torch.from_numpy(pool))
        batches = sample_batches(scores, budget, config.samples, generator)
        rewards = table.look_up(pool[batches.numpy()])
        advantages = torch.from_numpy(rewards - reference).to(scores.dtype)
        loss = policy_loss(scores, batches, advantages)
        if not torch.isfinite(loss):
            raise StepError(
                f"agent: the loss is {float(loss.detach())} in episode {episode}; lower agent.learning_rate"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        gradient_norm = torch.nn.utils.get_total_norm([p.grad for p in agent.parameters() if p.grad is not None])
        optimizer.step()
        best = max(best, float(rewards.max()))
        random_best = max(random_best, float(random_rewards.max()))
        mean = float(rewards.mean())
        log.append(
            Episode(
                episode=episode,
                reward=mean,
                best=best,
                random_reward=float(random_rewards.mean()),
                random_best=random_best,
                reference=reference,
                loss=float(loss.detach()),
                entropy=float(entropy(scores.detach())),
                gradient_norm=float(gradient_norm),
            )
        )
        reference = _next_reference(reference, mean, config)
    return agent, log


def _next_reference(reference: float, reward: float, config: AgentConfig) -> float:
    if config.reference == "previous":
        return reward
    return config.reference_decay * reference + (1 - config.reference_decay) * reward
