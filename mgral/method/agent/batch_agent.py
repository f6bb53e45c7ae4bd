"""The agent that sees its batch: a score for every image that could be added next."""

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mgral.artefacts.seeds import derive_seed
from mgral.method.agent.scale import mean_and_deviation
from mgral.method.greedy import choose_in_turn
from mgral.selection.query import Choice

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SHARPNESS = 2.0
"""Weight of the gain before training: the batches of an untrained agent are good, and differ from each other."""
SMALLEST = 1e-12
"""A spread of mAP below this is rounding."""


class AmountsReward(Protocol):
    """A reward of what the images of a batch amount to together, such as `LearnedReward`."""

    @property
    def pool(self) -> Float32:
        """Amounts of each image of the pool, [N, J]."""

    def worth(self, amounts: Float64) -> Float64:
        """Return the mAP, 0 to 1, float64 [...], expected of batches with these total amounts, [..., J]."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the mAP, 0 to 1, float64 [S], expected of batches of the pool, rows int64 [S, B]."""


class Seen(NamedTuple):
    """What the agent computes of images once, whatever the batch."""

    directions: Tensor
    """Standardised embeddings of length 1, [n, D]."""
    hidden: Tensor
    """What the hidden layer takes from them, [n, H]."""


class BatchAgent(nn.Module):
    """Scores images from their embedding e, and from gain and similarity to the batch so far.

        score = sharpness * gain + MLP([e, gain, similarity])

    The gain is that of the reward by adding the image to the batch so far. It is standardised over the images that
    are left, as gains fall while the batch grows. The similarity is the largest cosine of e with an image of the
    batch, and 0 while it is empty. The MLP starts at 0, so that an untrained agent is a soft greedy choice.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Tensor, deviation: Tensor, hidden: int) -> None:
        """Take the mean and the standard deviation of the pool's embeddings, float32 [D] each."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.log_sharpness = nn.Parameter(torch.tensor([SHARPNESS]).log())
        self.images = nn.Linear(len(mean), hidden)
        self.state = nn.Linear(2, hidden, bias=False)
        # Without a bias, which a softmax would not see.
        self.last = nn.Linear(hidden, 1, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights anew, as PyTorch does by default, but from the given generator; 0 in the last layer."""
        bound = (len(self.mean) + 2) ** -0.5
        for parameter in (*self.images.parameters(), *self.state.parameters()):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        nn.init.zeros_(self.last.weight)

    def see(self, embeddings: Tensor) -> Seen:
        """Return what scores of images need of their embeddings, [n, D]."""
        standardised = (embeddings - self.mean) / self.deviation
        return Seen(functional.normalize(standardised, dim=1), self.images(standardised))

    def forward(self, hidden: Tensor, gains: Tensor, similarities: Tensor) -> Tensor:
        """Return the scores, [..., n], of n images.

        Parameters
        ----------
        hidden
            Of the images, [n, H]; see `Seen`.
        gains, similarities
            Standardised gains, and similarities in -1..1, [..., n] each.
        """
        of_gain, of_similarity = self.state.weight.unbind(dim=1)
        inner = hidden.addcmul(gains[..., None], of_gain).addcmul(similarities[..., None], of_similarity)
        of_state: Tensor = self.last(functional.relu(inner))[..., 0]
        return self.log_sharpness.exp() * gains + of_state

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that selection needs, as kept in `agent.safetensors`."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}


def build_batch_agent(embeddings: Float32, hidden: int, generator: torch.Generator) -> BatchAgent:
    """Return an untrained agent that standardises by the given pool, float32 [N, D]."""
    agent = BatchAgent(*mean_and_deviation(embeddings), hidden)
    agent.initialise(generator)
    return agent


def standardised(worth: Float64, left: Mask) -> Tensor:
    """Return the worth of batches with each of n images, [..., n], by mean and deviation over those left, float32."""
    count = left.sum(axis=-1, keepdims=True)
    centred = worth - (worth * left).sum(axis=-1, keepdims=True) / count
    deviation = np.sqrt((centred**2 * left).sum(axis=-1, keepdims=True) / count)
    scaled = centred / np.where(deviation > SMALLEST, deviation, np.inf)
    return torch.from_numpy(scaled.astype(np.float32))


class Drawn(NamedTuple):
    """Batches that were drawn image by image from the same n candidates, and what the agent knew at each step."""

    picks: Tensor
    """Place of the chosen image among the candidates, int64 [T, S]."""
    worth: Float64
    """mAP of each batch before the first step and after each, [T + 1, S]."""
    first: Tensor
    """Scores of the first step, [n]."""
    gains: Tensor
    """Standardised, float32 [T, S, n]."""
    similarities: Tensor
    """Float32 [T, S, n]."""
    taken: Tensor
    """Whether the batch holds the candidate already, bool [T, S, n]."""


@torch.no_grad()
def draw_batches(agent: BatchAgent, reward: AmountsReward, candidates: Rows, seen: Seen, uniform: Tensor) -> Drawn:
    """Draw S batches of T images, image by image, by a softmax over the scores of what is left.

    Parameters
    ----------
    candidates
        Rows of the pool to choose from, int64 [n].
    seen
        Of the candidates.
    uniform
        Random numbers in [0, 1), float64 [T, S, n], T <= n.
    """
    size, count, _ = uniform.shape
    amounts = reward.pool[candidates].astype(np.float64)
    totals = np.zeros((count, amounts.shape[1]))
    each = np.arange(count)
    similarities = torch.zeros(count, len(candidates))
    taken = torch.zeros(count, len(candidates), dtype=torch.bool)
    first = torch.zeros(0)
    cosines = seen.directions @ seen.directions.T
    # The Gumbel-max trick; `rand` can return 0 exactly, whose key would be -inf, and nearly 1 but never 1.
    keys = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
    worth, picks, states = [reward.worth(totals)], [], []
    for step in range(size):
        with_each = reward.worth(totals[:, None] + amounts)
        gains = standardised(with_each, ~taken.numpy())
        states.append((gains, similarities, taken))
        scores = agent(seen.hidden, gains, similarities).masked_fill(taken, float("-inf"))
        first = scores[0] if step == 0 else first
        pick = (scores + keys[step]).argmax(dim=1)
        picks.append(pick)
        worth.append(with_each[each, pick.numpy()])
        totals += amounts[pick.numpy()]
        similarities = torch.maximum(similarities, cosines[pick]) if step else cosines[pick]
        taken = taken.scatter(1, pick[:, None], True)
    kept = (torch.stack(one) for one in zip(*states, strict=True))
    return Drawn(torch.stack(picks), np.stack(worth), first, *kept)


def log_probabilities(agent: BatchAgent, hidden: Tensor, drawn: Drawn, steps: Tensor) -> Tensor:
    """Return the log-probability of what was chosen in some steps, int64 [t], differentiable: [t, S]."""
    scores = agent(hidden, drawn.gains[steps], drawn.similarities[steps])
    logs: Tensor = scores.masked_fill(drawn.taken[steps], float("-inf")).log_softmax(dim=-1)
    return logs.gather(-1, drawn.picks[steps][..., None])[..., 0]


@torch.no_grad()
def choose_batch(
    agent: BatchAgent, reward: AmountsReward, embeddings: Float32, budget: int, seed: int, cycle: int
) -> Choice:
    """Choose `budget` rows of a pool, embeddings float32 [N, D]: each time the highest score (`choose_in_turn`)."""
    rng = np.random.default_rng(derive_seed(seed, "mgral", cycle))
    seen = agent.see(torch.from_numpy(embeddings))

    def score(rows: Rows, tried: Rows) -> Float64:
        totals = reward.pool[rows].sum(axis=0, dtype=np.float64)
        gains = standardised(reward.worth(totals + reward.pool[tried]), np.ones(len(tried), bool))
        similarities = torch.zeros(len(tried))
        if len(rows):
            similarities = (seen.directions[tried] @ seen.directions[rows].T).amax(dim=1)
        scores: Tensor = agent(seen.hidden[tried], gains, similarities)
        return scores.double().numpy()

    return choose_in_turn(score, len(embeddings), budget, rng)
