"""The paper's agent: an LSTM that scores each image of the pool in turn."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mgral.artefacts.files import read_arrays
from mgral.errors import InputError
from mgral.method.agent.batch_agent import BatchAgent
from mgral.method.agent.scale import mean_and_deviation

CHUNK_IMAGES = 32768
"""Number of images to score at a time during selection, which bounds its memory."""


class Agent(nn.Module):
    """Scores images by an LSTM and a two-layer MLP, from the embedding of each and the decision on the previous one.

    The paper feeds back whether the previous image was chosen. A batch drawn without replacement is known only when
    all images have a score. So we feed back the soft decision sigmoid(s_{j-1}) on the previous image, and 0 before
    the first. The scores then depend on the images alone, and the log-probability of a batch is exact.

    A long pool is cut into windows of `window` images, which are scored in parallel. The state of the LSTM is zero at
    the start of each window.
    """

    mean: Tensor
    deviation: Tensor
    window: Tensor
    validated: Tensor
    """bool [1]: False if the lookup tables failed their test. Batches are then random, whatever the scores."""

    def __init__(self, mean: Tensor, deviation: Tensor, hidden: int, window: int) -> None:
        """Take the mean and the standard deviation of the pool's embeddings, float32 [D] each."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.register_buffer("window", torch.tensor([window]))
        self.register_buffer("validated", torch.tensor([True]))
        self.cell = nn.LSTMCell(len(mean) + 1, hidden)
        self.score = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.hidden = hidden

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights like PyTorch's defaults, but from the given generator."""
        bound = self.hidden**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the scores, float32 [N], of embeddings, float32 [N, D], in the order given."""
        return self.score_standardised(self.standardise(embeddings))

    def standardise(self, embeddings: Tensor) -> Tensor:
        """Standardise embeddings, float32 [N, D], by the mean and the standard deviation of the pool."""
        return (embeddings - self.mean) / self.deviation

    def score_standardised(self, standardised: Tensor) -> Tensor:
        """Return the scores, float32 [N], of standardised embeddings, float32 [N, D], in the order given."""
        count, dimensions = standardised.shape
        window = min(int(self.window), count)
        weight = self.cell.weight_ih
        # The gates' inputs from the images do not depend on the recurrence, so one product computes them all.
        inputs = functional.linear(standardised, weight[:, :dimensions], self.cell.bias_ih + self.cell.bias_hh)
        window_count = -(-count // window)
        inputs = functional.pad(inputs, (0, 0, 0, window_count * window - count)).view(window_count, window, -1)
        state = cell = inputs.new_zeros(window_count, self.hidden)
        decision = inputs.new_zeros(window_count, 1)
        recurrent = torch.cat([self.cell.weight_hh, weight[:, dimensions:]], dim=1).t()
        scores = []
        for position_inputs in inputs.unbind(dim=1):
            gates = torch.addmm(position_inputs, torch.cat([state, decision], dim=1), recurrent)
            # On a CPU one sigmoid over all four gates is faster than three, although the third result is not used.
            input_gate, forget_gate, _, output_gate = gates.sigmoid().chunk(4, dim=1)
            cell = forget_gate * cell + input_gate * gates[:, 2 * self.hidden : 3 * self.hidden].tanh()
            state = output_gate * cell.tanh()
            score = self.score(state)
            decision = score.sigmoid()
            scores.append(score)
        return torch.cat(scores, dim=1).flatten()[:count]

    @torch.no_grad()
    def score_pool(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the scores, float32 [N], of embeddings, float32 [N, D], computed in chunks of complete windows."""
        window = int(self.window)
        chunk = max(1, CHUNK_IMAGES // window) * window
        parts = [self(torch.from_numpy(embeddings[i : i + chunk])) for i in range(0, len(embeddings), chunk)]
        scores: npt.NDArray[np.float32] = torch.cat(parts).numpy()
        return scores

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays of `agent.safetensors`, which are all that a selection needs."""
        return {name: tensor.numpy() for name, tensor in self.state_dict().items()}


def build_agent(embeddings: npt.NDArray[np.float32], hidden: int, window: int, generator: torch.Generator) -> Agent:
    """Return an untrained agent that standardises embeddings by those of the pool, float32 [N, D]."""
    agent = Agent(*mean_and_deviation(embeddings), hidden, window)
    agent.initialise(generator)
    return agent


def load_agent(path: Path) -> Agent | BatchAgent:
    """Read `agent.safetensors`; raises InputError if it contains no agent or a weight that is not finite."""
    tensors = {name: torch.from_numpy(array) for name, array in read_arrays(path).items()}
    try:
        agent = _untrained(tensors)
        agent.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{path} is not an agent ({error}); run the step `agent` again") from None
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise InputError(f"{path} contains a weight that is not finite; run the step `agent` again")
    return agent


def _untrained(tensors: dict[str, Tensor]) -> Agent | BatchAgent:
    scale = tensors["mean"], tensors["deviation"]
    if "log_sharpness" in tensors:
        return BatchAgent(*scale, len(tensors["state.weight"]))
    return Agent(*scale, tensors["cell.weight_hh"].shape[1], int(tensors["window"][0]))
