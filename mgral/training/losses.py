"""The losses of a training, which stay on its device until some are read together."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.compute.device import fixed_shapes
from mgral.errors import StepError

READ_TOGETHER = 100
"""Parts of batches whose losses are read from a GPU together."""


class _Unread(NamedTuple):
    iteration: int
    images: npt.NDArray[np.int64]
    """Ids of the images of the part."""
    losses: dict[str, Tensor]
    """Scalars on the device, by the column of the history that they are added to."""


class Losses:
    """The losses of each iteration; to read one from a GPU the processor waits for all that it was told to do."""

    def __init__(self, step: str, device: torch.device) -> None:
        """Take the name of the step, for errors, and the device that the losses are on."""
        self._step = step
        self._together = READ_TOGETHER if fixed_shapes(device) else 1
        self._unread: list[_Unread] = []
        self.history: list[dict[str, float]] = []
        """A row an iteration: iteration, loss (supervised), consistency, learning_rate."""

    def begin(self, learning_rate: float) -> None:
        """Begin an iteration."""
        row = {"iteration": len(self.history), "loss": 0.0, "consistency": 0.0, "learning_rate": learning_rate}
        self.history.append(row)

    def add(self, images: npt.NDArray[np.int64], **losses: Tensor) -> None:
        """Add the losses of a part of the batch, scalars; a CPU's are read at once, as `read` does."""
        self._unread.append(_Unread(len(self.history) - 1, images, losses))
        if len(self._unread) >= self._together:
            self.read()

    def read(self) -> None:
        """Add to the history what is on the device; raises StepError at the first loss that is not finite."""
        if not self._unread:
            return
        values = iter(torch.stack([loss for part in self._unread for loss in part.losses.values()]).tolist())
        for part in self._unread:
            row = self.history[part.iteration]
            for column in part.losses:
                row[column] += next(values)
            if not math.isfinite(total := row["loss"] + row["consistency"]):
                raise StepError(
                    f"{self._step}: the loss is {total} at iteration {part.iteration} (images "
                    f"{part.images.tolist()}); lower training.learning_rate, or check the boxes of these images"
                )
        self._unread.clear()
