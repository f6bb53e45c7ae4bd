"""Labelled images as batches: pixels from the image cache, boxes scaled to their canvas and padded."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.models.interface import Targets


@dataclass(frozen=True)
class TrainingImages:
    """Some images of a data set, ready to be drawn from."""

    image_ids: npt.NDArray[np.int64]
    """Shape [n]."""
    images: Images
    """All images of the data set."""
    rows: npt.NDArray[np.int64]
    """Rows of the data set, [n]."""
    targets: Targets
    """Their boxes in pixels of the canvas, [n, M, 4] and [n, M]."""
    covered: Tensor
    """What each covers of its canvas from the top left, float32 [n, 2]: width and height in pixels."""

    def batch(self, chosen: Tensor) -> tuple[Tensor, Targets]:
        """Return uint8 images [B, 3, H, W], channels last in memory, and their boxes."""
        return self.pixels(chosen).permute(0, 3, 1, 2), self.boxes(chosen)

    def pixels(self, chosen: Tensor) -> Tensor:
        """Return the canvases of some images, uint8 [n, H, W, 3]."""
        return torch.from_numpy(self.images.read(self.rows[chosen.numpy()]))

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the canvases of all images."""
        return len(self.rows) * self.images.canvas.height * self.images.canvas.width * 3

    def boxes(self, chosen: Tensor, *, padded: bool = False) -> Targets:
        """Return the boxes of some images, padded to their largest number, or to that of all images."""
        labels = self.targets.labels[chosen]
        if padded:
            return Targets(self.targets.boxes[chosen], labels)
        most = int((labels >= 0).sum(1).max()) if labels.numel() else 0
        return Targets(self.targets.boxes[chosen, :most], labels[:, :most])

    def prefetch(self, chosen: Tensor) -> None:
        """Begin to decode the images of the next batch."""
        self.images.prefetch(self.rows[chosen.numpy()])


def training_images(
    dataset: Dataset, images: Images, image_ids: npt.ArrayLike, *, labels: bool = True
) -> TrainingImages:
    """Gather images of a data set by id; without `labels` their boxes are left out."""
    rows = dataset.rows(image_ids)
    covered = images.covered[rows]
    most = max((len(dataset.labels[row]) for row in rows), default=0) if labels else 0
    boxes = torch.zeros(len(rows), most, 4)
    classes = torch.full((len(rows), most), -1, dtype=torch.int64)
    for index, row in enumerate(rows if labels else []):
        count = len(dataset.labels[row])
        scale = np.tile(covered[index] / dataset.sizes[row], 2)
        boxes[index, :count] = torch.from_numpy((dataset.boxes[row] * scale).astype(np.float32))
        classes[index, :count] = torch.from_numpy(dataset.labels[row])
    on_canvas = torch.from_numpy(covered.astype(np.float32))
    return TrainingImages(dataset.image_ids[rows], images, rows, Targets(boxes, classes), on_canvas)


class Sampler:
    """Draws batches without replacement within an epoch, by its own generator."""

    def __init__(self, images: int, batch_size: int, seed: int) -> None:
        self._images, self._batch_size = images, batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._left = torch.empty(0, dtype=torch.int64)

    def draw(self) -> Tensor:
        """Return int64 [batch_size]; a batch may reach over into the next epoch."""
        batch = self.peek()
        self._left = self._left[self._batch_size :]
        return batch

    def peek(self) -> Tensor:
        """Return what `draw` returns next."""
        while len(self._left) < self._batch_size:
            self._left = torch.cat([self._left, torch.randperm(self._images, generator=self._generator)])
        return self._left[: self._batch_size]

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state and what is left of the epoch."""
        return {"generator": self._generator.get_state(), "left": self._left}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the sampler that gave `state` was."""
        self._generator.set_state(state["generator"])
        self._left = state["left"]
