"""Where an image lies in the cache, and what of it a detector is shown."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

MOST_PIXELS = 256 * 256
"""Pixels of an input size that is derived from the images, at most: two cores train on some images of it a second."""
CHUNK, CHUNK_PIXELS = 32, 4 * 1024 * 1024
"""Images that go through a detector at once where it does not learn, and how many pixels they may have together."""


@dataclass(frozen=True)
class Canvas:
    """The frame of one size in which images of all sizes are cached; sizes are width and height in pixels."""

    width: int
    height: int
    placement: Literal["stretch", "shrink", "fit"] = "stretch"
    """Stretched over all of it; or at the top left, with the aspect ratio kept: shrunk where the image is
    larger (`shrink`), or shrunk or enlarged until one side is filled (`fit`)."""
    view: tuple[int, int] | None = None
    """Size to which a detector is shown what the image covers; None shows it the complete canvas as it is."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Size of what a detector is shown."""
        return self.view or (self.width, self.height)

    @property
    def chunk(self) -> int:
        """Images that go through a detector at once where it does not learn: its maps take memory."""
        width, height = self.input_size
        return max(1, min(CHUNK, CHUNK_PIXELS // (width * height)))

    def covered(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the part of the canvas that images of the given sizes [N, 2] cover, [N, 2], from the top left."""
        whole = np.array([self.width, self.height])
        if self.placement == "stretch":
            return np.broadcast_to(whole, sizes.shape)
        factor = (whole / sizes).min(axis=-1, keepdims=True)
        if self.placement == "shrink":
            factor = np.minimum(factor, 1)
        covered: npt.NDArray[np.int64] = np.maximum(np.rint(sizes * factor), 1).astype(np.int64)
        return covered

    def shown(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the part of a detector's input that images of the given sizes [N, 2] cover, [N, 2]."""
        return np.broadcast_to(np.array(self.view), sizes.shape) if self.view else self.covered(sizes)
