"""Training the agent: policy gradient on looked-up rewards."""

import json
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.optim import Adam

from mgral.artefacts.seeds import derive_seed
from mgral.compute.progress import tracked
from mgral.config import AgentConfig
from mgral.errors import StepError
from mgral.method.agent.network import Agent, build_agent
from mgral.method.agent.policy import entropy, log_probability, sample_batches
from mgral.method.lut.reward import Reward
from mgral.training.checkpoint import Checkpoint


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
    baseline: float
    """mAP_ref that the episode's rewards were compared with."""
    loss: float
    entropy: float
    """Entropy of the first draw, in nats."""
    gradient_norm: float


def uniform_batches(pool: int, size: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the rows, int64 [S, B], of batches drawn uniformly without replacement from a pool of N images."""
    return np.stack([rng.choice(pool, size, replace=False, shuffle=False) for _ in range(count)])


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

    With a checkpoint of the same training it goes on from there, to the same agent bit for bit. Random numbers are
    drawn on the CPU, wherever the network is.

    Raises
    ------
    StepError
        Where the loss is not finite.
    InputError
        On a damaged checkpoint.
    """
    run = _Run(embeddings, config, seed, cycle, device)
    if checkpoint and (state := checkpoint.load()):
        run.load_state_dict(state)
        print(f"agent: resumed at episode {run.done} of {config.episodes} from {checkpoint.path}", file=sys.stderr)
    agent, log = run.agent, run.log
    pool = agent.standardise(torch.from_numpy(embeddings).to(device))
    left = range(run.done + 1, config.episodes + 1)
    for episode in tracked(left, "agent", config.episodes, "episode", run.done):
        random_rewards = table.lookup(uniform_batches(len(pool), budget, config.samples, run.random_rng))
        baseline = _next_baseline(log[-1], config) if log else float(random_rewards.mean())
        order = run.order_rng.permutation(len(pool))
        scores = agent.score_standardised(pool[torch.from_numpy(order).to(device)])
        batches = sample_batches(scores, budget, config.samples, run.generator)
        rewards = table.lookup(order[batches.cpu().numpy()])
        advantages = torch.from_numpy(rewards - baseline).to(scores)
        loss = policy_loss(scores, batches, advantages)
        if not torch.isfinite(loss):
            raise StepError(
                f"agent: the loss is {float(loss.detach())} in episode {episode}; lower agent.learning_rate"
            )
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        gradient_norm = torch.nn.utils.get_total_norm([p.grad for p in agent.parameters() if p.grad is not None])
        run.optimizer.step()
        best, random_best = float(rewards.max()), float(random_rewards.max())
        log.append(
            Episode(
                episode=episode,
                reward=float(rewards.mean()),
                best=max(best, log[-1].best) if log else best,
                random_reward=float(random_rewards.mean()),
                random_best=max(random_best, log[-1].random_best) if log else random_best,
                baseline=baseline,
                loss=float(loss.detach()),
                entropy=float(entropy(scores.detach())),
                gradient_norm=float(gradient_norm),
            )
        )
        if checkpoint:
            checkpoint.save_if_due(run.state_dict)
    return agent.cpu(), log


def _next_baseline(last: Episode, config: AgentConfig) -> float:
    if config.baseline == "previous":
        return last.reward
    return config.baseline_decay * last.baseline + (1 - config.baseline_decay) * last.reward


class _Run:
    """All that changes from one episode to the next, so that a checkpoint holds it whole."""

    def __init__(
        self, embeddings: npt.NDArray[np.float32], config: AgentConfig, seed: int, cycle: int, device: str
    ) -> None:
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "agent", cycle))
        self.order_rng = np.random.default_rng(derive_seed(seed, "agent pool order", cycle))
        self.random_rng = np.random.default_rng(derive_seed(seed, "agent random batches", cycle))
        self.agent = build_agent(embeddings, config.hidden, config.window, self.generator).to(device)
        self.optimizer = Adam(self.agent.parameters(), lr=config.learning_rate)
        self.log: list[Episode] = []

    @property
    def done(self) -> int:
        return len(self.log)

    def state_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            # As text: the states are integers of 128 bits, and the episodes of a type that torch.load does not know.
            "order_rng": json.dumps(self.order_rng.bit_generator.state),
            "random_rng": json.dumps(self.random_rng.bit_generator.state),
            "log": json.dumps(self.log),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.order_rng.bit_generator.state = json.loads(state["order_rng"])
        self.random_rng.bit_generator.state = json.loads(state["random_rng"])
        self.log = [Episode(*row) for row in json.loads(state["log"])]
