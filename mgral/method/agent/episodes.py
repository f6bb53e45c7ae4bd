"""The loop that the training of both agents shares: episodes, their log, and checkpoints."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim import Adam

from mgral.artefacts.seeds import derive_seed
from mgral.compute.progress import tracked
from mgral.config import AgentConfig
from mgral.errors import StepError
from mgral.training.checkpoint import Checkpoint

Float64 = npt.NDArray[np.float64]


class Episode(NamedTuple):
    """One row of `agent.csv`. Rewards are in mAP (1 = 100 %); learned ones extrapolate, below 0 or above 1."""

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
    """With policy `lstm`: what is subtracted from the rewards, the paper's mAP_ref. With `batch`: the mean reward."""
    loss: float
    entropy: float
    """Entropy of the first draw, in nats."""
    gradient_norm: float
    """L2 norm of the gradient of all weights."""


def uniform_batches(pool: int, size: int, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw S batches of B images uniformly from a pool of N images, without replacement: rows, int64 [S, B]."""
    return np.stack([rng.choice(pool, size, replace=False, shuffle=False) for _ in range(count)])


AnyAgent = TypeVar("AnyAgent", bound=nn.Module)


class Training(Generic[AnyAgent]):
    """The complete state of an agent's training, which a checkpoint saves and restores.

    Random numbers are drawn on the CPU, even if the network is on a GPU.
    """

    def __init__(
        self, build: Callable[[torch.Generator], AnyAgent], config: AgentConfig, seed: int, cycle: int
    ) -> None:
        """Start a training; `build` makes the untrained agent and draws its weights from the given generator."""
        self.generator = torch.Generator().manual_seed(derive_seed(seed, "agent", cycle))
        self.order_rng = np.random.default_rng(derive_seed(seed, "agent pool order", cycle))
        self.random_rng = np.random.default_rng(derive_seed(seed, "agent random batches", cycle))
        self.agent = build(self.generator)
        self.optimizer = Adam(self.agent.parameters(), lr=config.learning_rate, fused=True)
        self.log: list[Episode] = []
        self._episodes = config.episodes

    def episodes(self, checkpoint: Checkpoint | None) -> Iterator[int]:
        """Yield the numbers of the episodes that are left, counted from 1; after each, save a checkpoint if due.

        A training that is resumed from a checkpoint ends with the same agent, bit for bit.

        Raises
        ------
        InputError
            If the checkpoint is damaged.
        """
        if checkpoint and (state := checkpoint.load()):
            self._load_state_dict(state)
            message = f"agent: resumed at episode {len(self.log)} of {self._episodes} from {checkpoint.path}"
            print(message, file=sys.stderr)
        remaining = range(len(self.log) + 1, self._episodes + 1)
        for episode in tracked(remaining, "agent", self._episodes, "episode", len(self.log)):
            yield episode
            if checkpoint:
                checkpoint.save_if_due(self._state_dict)

    def learn(self, loss: Tensor, rewards: Float64, random_rewards: Float64, baseline: float, entropy: float) -> None:
        """Take one optimiser step on an episode's loss, and log the episode.

        Parameters
        ----------
        rewards
            Looked-up mAP of the episode's batches, float64 [S].
        random_rewards
            The same of uniformly drawn batches.

        Raises
        ------
        StepError
            If the loss is not finite.
        """
        episode = len(self.log) + 1
        if not torch.isfinite(loss):
            raise StepError(
                f"agent: the loss is {float(loss.detach())} in episode {episode}; lower agent.learning_rate"
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self.agent.parameters() if parameter.grad is not None]
        gradient_norm = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        best, random_best = float(rewards.max()), float(random_rewards.max())
        self.log.append(
            Episode(
                episode=episode,
                reward=float(rewards.mean()),
                best=max(best, self.log[-1].best) if self.log else best,
                random_reward=float(random_rewards.mean()),
                random_best=max(random_best, self.log[-1].random_best) if self.log else random_best,
                baseline=baseline,
                loss=float(loss.detach()),
                entropy=entropy,
                gradient_norm=float(gradient_norm),
            )
        )

    def _state_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            # As text, because the states contain integers of 128 bits, and torch.load refuses the type `Episode`.
            "order_rng": json.dumps(self.order_rng.bit_generator.state),
            "random_rng": json.dumps(self.random_rng.bit_generator.state),
            "log": json.dumps(self.log),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.order_rng.bit_generator.state = json.loads(state["order_rng"])
        self.random_rng.bit_generator.state = json.loads(state["random_rng"])
        self.log = [Episode(*row) for row in json.loads(state["log"])]
