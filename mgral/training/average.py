"""The moving average of a detector's weights."""

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mgral.config import TrainingConfig


class MovingAverage(AveragedModel):
    """A moving average of a model's weights and of its other tensors, of all of them at once.

    After n updates it keeps min(decay, (1 + n) / (10 + n)) of the past; the first update copies the model. Tarvainen,
    Valpola, *Mean teachers are better role models*, NeurIPS 2017, section 3; the rising decay is that of TensorFlow's
    `ExponentialMovingAverage`. torch's own asks the device for the number of updates, once for each tensor.
    """

    n_averaged: torch.Tensor
    """Updates so far; on the CPU, so that no GPU is asked for it."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Take the model, and the most of the past that an update keeps."""
        super().__init__(model, use_buffers=True)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the tensors of the model."""
        updates = int(self.n_averaged)
        pairs = list(zip(_all_tensors(self.module), _all_tensors(model), strict=True))
        moved = [pair for pair in pairs if updates and pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not (updates and pair[0].is_floating_point())]
        if moved:
            decay = min(self._decay, (1 + updates) / (10 + updates))
            torch._foreach_lerp_([ours for ours, _ in moved], [theirs for _, theirs in moved], 1 - decay)
        if copied:
            torch._foreach_copy_([ours for ours, _ in copied], [theirs for _, theirs in copied])
        self.n_averaged += 1


def _all_tensors(model: nn.Module) -> chain[torch.Tensor]:
    return chain(model.parameters(), model.buffers())


def make_average(model: nn.Module, config: TrainingConfig) -> MovingAverage | None:
    """Return the moving average of a model's weights, and of its other tensors, if the configuration asks for one."""
    return MovingAverage(model, config.moving_average) if config.moving_average else None
