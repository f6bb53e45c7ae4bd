"""The agent of `mgral`: it scores every image that could be added next, given the batch so far."""

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
"""Weight of the gain before training, at which the batches of an untrained agent are good but not all alike."""
SMALLEST = 1e-12
"""Standard deviations of mAP below this are rounding errors, and count as 0."""


class AmountsReward(Protocol):
    """A reward that depends only on sums over the images of a batch, such as `LearnedReward`.

    The summands of an image are called its amounts; see `mgral.method.lut.composition.Composition`.
    """

    @property
    def pool(self) -> Float32:
        """Amounts of each image of the pool, float32 [N, J]."""

    def worth(self, amounts: Float64) -> Float64:
        """Return the expected mAP, float64 [...], of batches with these total amounts, float64 [..., J]."""

    def worth_with_each(self, totals: Float64, rows: Rows) -> Float64:
        """Return the expected mAP, float64 [S, n], of S batches, totals float64 [S, J], with each of n rows added."""

    def lookup(self, batches: Rows) -> Float64:
        """Return the expected mAP, float64 [S], of batches given by rows of the pool, int64 [S, B]."""


class EncodedImages(NamedTuple):
    """The part of the agent's computation that does not depend on the batch, for n images."""

    directions: Tensor
    """Standardised embeddings, scaled to length 1, float32 [n, D]."""
    hidden: Tensor
    """Contribution of the embeddings to the hidden layer, float32 [n, H]."""


class BatchAgent(nn.Module):
    """Scores an image by its embedding e, its gain, and its similarity to the batch so far.

        score = sharpness * gain + MLP([e, gain, similarity])

    The gain is the increase of the reward if the image is added to the batch. It is standardised over the images that
    are left, because gains fall as the batch grows. The similarity is the largest cosine between e and the embedding
    of an image in the batch; it is 0 while the batch is empty. The output of the MLP is 0 before training, so an
    untrained agent samples by a softmax over the gains.
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
        # A bias would add the same to all scores, which does not change their softmax.
        self.last = nn.Linear(hidden, 1, bias=False)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights like PyTorch's defaults, but from the given generator; set the last layer to 0."""
        bound = (len(self.mean) + 2) ** -0.5
        for parameter in (*self.images.parameters(), *self.state.parameters()):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        nn.init.zeros_(self.last.weight)

    def encode(self, embeddings: Tensor) -> EncodedImages:
        """Compute once what the scores of n images need from their embeddings, float32 [n, D]."""
        standardised = (embeddings - self.mean) / self.deviation
        return EncodedImages(functional.normalize(standardised, dim=1), self.images(standardised))

    def forward(self, hidden: Tensor, gains: Tensor, similarities: Tensor) -> Tensor:
        """Return the scores, float32 [..., n], of n images.

        Parameters
        ----------
        hidden
            `EncodedImages.hidden` of the images, float32 [n, H].
        gains, similarities
            Standardised gains, and similarities from -1 to 1, float32 [..., n] each.
        """
        gain_weights, similarity_weights = self.state.weight.unbind(dim=1)
        inner = hidden.addcmul(gains[..., None], gain_weights).addcmul(similarities[..., None], similarity_weights)
        mlp_scores: Tensor = self.last(functional.relu(inner))[..., 0]
        return self.log_sharpness.exp() * gains + mlp_scores

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of `agent.safetensors`, which are all that a selection needs."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}


def build_batch_agent(embeddings: Float32, hidden: int, generator: torch.Generator) -> BatchAgent:
    """Return an untrained agent that standardises embeddings by those of the pool, float32 [N, D]."""
    agent = BatchAgent(*mean_and_deviation(embeddings), hidden)
    agent.initialise(generator)
    return agent


def standardise(maps: Float64, remaining: Mask) -> Tensor:
    """Standardise the mAP of a batch with each of n images added, float64 [..., n], to float32 [..., n].

    Mean and standard deviation are those over the remaining images, a mask [..., n].
    """
    count = remaining.sum(axis=-1, keepdims=True)
    centred = maps - (maps * remaining).sum(axis=-1, keepdims=True) / count
    deviation = np.sqrt((centred**2 * remaining).sum(axis=-1, keepdims=True) / count)
    scaled = centred / np.where(deviation > SMALLEST, deviation, np.inf)
    return torch.from_numpy(scaled.astype(np.float32))


class Drawn(NamedTuple):
    """S batches, drawn in T steps from the same n candidates, and the inputs of the agent at each step."""

    picks: Tensor
    """Index of the chosen image among the candidates, int64 [T, S]."""
    worth: Float64
    """Expected mAP of each batch before the first step and after each step, float64 [T + 1, S]."""
    first: Tensor
    """Scores of the first step, float32 [n]."""
    gains: Tensor
    """Standardised gain of each candidate, float32 [T, S, n]."""
    similarities: Tensor
    """Similarity of each candidate to the batch, -1 to 1, float32 [T, S, n]."""
    taken: Tensor
    """Whether the candidate is already in the batch, bool [T, S, n]."""


@torch.no_grad()
def draw_batches(
    agent: BatchAgent, reward: AmountsReward, candidates: Rows, encoded: EncodedImages, uniform: Tensor
) -> Drawn:
    """Draw S batches of T images, image by image, by a softmax over the scores of the images that are left.

    Parameters
    ----------
    candidates
        Rows of the pool to choose from, int64 [n].
    encoded
        The candidates, encoded by the agent.
    uniform
        Random numbers in [0, 1), float64 [T, S, n], with T <= n.
    """
    size, count, _ = uniform.shape
    amounts = reward.pool[candidates].astype(np.float64)
    totals = np.zeros((count, amounts.shape[1]))
    batch_indices = np.arange(count)
    similarities = torch.zeros(count, len(candidates))
    taken = torch.zeros(count, len(candidates), dtype=torch.bool)
    first_scores = torch.zeros(0)
    cosines = encoded.directions @ encoded.directions.T
    # The Gumbel-max trick. `rand` can return exactly 0, whose key would be -inf. It never returns 1.
    keys = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
    worth, picks, states = [reward.worth(totals)], [], []
    for step in range(size):
        with_each = reward.worth_with_each(totals, candidates)
        gains = standardise(with_each, ~taken.numpy())
        states.append((gains, similarities, taken))
        scores = agent(encoded.hidden, gains, similarities).masked_fill(taken, float("-inf"))
        # All batches are empty at first, so their scores are equal.
        first_scores = scores[0] if step == 0 else first_scores
        pick = (scores + keys[step]).argmax(dim=1)
        picks.append(pick)
        worth.append(with_each[batch_indices, pick.numpy()])
        totals += amounts[pick.numpy()]
        # The first cosines replace the 0 of an empty batch, as they can be negative.
        similarities = torch.maximum(similarities, cosines[pick]) if step else cosines[pick]
        taken = taken.scatter(1, pick[:, None], True)
    stacked = (torch.stack(tensors) for tensors in zip(*states, strict=True))
    return Drawn(torch.stack(picks), np.stack(worth), first_scores, *stacked)


def log_probabilities(agent: BatchAgent, hidden: Tensor, drawn: Drawn, steps: Tensor) -> Tensor:
    """Return the log-probability of the choices in the given steps, int64 [t], as a differentiable tensor [t, S]."""
    scores = agent(hidden, drawn.gains[steps], drawn.similarities[steps])
    logs: Tensor = scores.masked_fill(drawn.taken[steps], float("-inf")).log_softmax(dim=-1)
    return logs.gather(-1, drawn.picks[steps][..., None])[..., 0]


@torch.no_grad()
def choose_batch(
    agent: BatchAgent, reward: AmountsReward, embeddings: Float32, budget: int, seed: int, cycle: int
) -> Choice:
    """Choose `budget` rows of a pool with embeddings float32 [N, D], each time the row that the agent scores highest.

    At most `TRIED_IMAGES` // budget rows are tried for each place (`mgral.method.greedy`). Gains are standardised
    over these rows.
    """
    rng = np.random.default_rng(derive_seed(seed, "mgral", cycle))
    encoded = agent.encode(torch.from_numpy(embeddings))

    def score(rows: Rows, tried: Rows) -> Float64:
        totals = reward.pool[rows].sum(axis=0, dtype=np.float64)
        gains = standardise(reward.worth_with_each(totals[None], tried)[0], np.ones(len(tried), bool))
        similarities = torch.zeros(len(tried))
        if len(rows):
            similarities = (encoded.directions[tried] @ encoded.directions[rows].T).amax(dim=1)
        scores: Tensor = agent(encoded.hidden[tried], gains, similarities)
        return scores.double().numpy()

    return choose_in_turn(score, len(embeddings), budget, rng)
