"""How images are scaled and placed in the cache, and what a detector is shown of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

MOST_PIXELS = 256 * 256
"""Largest area of a derived input size, in pixels. Two cores train on a few such images a second."""
CHUNK, CHUNK_PIXELS = 32, 4 * 1024 * 1024
"""Limits of a batch in inference: its number of images, and their pixels together."""


@dataclass(frozen=True)
class Canvas:
    """The frame of fixed size on which each image is cached. All sizes are (width, height) in pixels."""

    width: int
    height: int
    placement: Literal["stretch", "shrink", "fit"] = "stretch"
    """`stretch` scales an image to the complete canvas. The others keep the aspect ratio and place the image at the
    top left: `shrink` reduces images that are too large, `fit` reduces or enlarges until one side is filled."""
    view: tuple[int, int] | None = None
    """Size of the detector's input, to which the part covered by the image is scaled; None: the canvas as it is."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Size of the detector's input."""
        return self.view or (self.width, self.height)

    @property
    def chunk(self) -> int:
        """Batch size of inference: `CHUNK`, or fewer images if they are large, as feature maps take memory."""
        width, height = self.input_size
        return max(1, min(CHUNK, CHUNK_PIXELS // (width * height)))

    def covered(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the size, int64 [N, 2], that images of sizes [N, 2] cover on the canvas, from the top left."""
        frame = np.array([self.width, self.height])
        if self.placement == "stretch":
            return np.broadcast_to(frame, sizes.shape)
        factor = (frame / sizes).min(axis=-1, keepdims=True)
        if self.placement == "shrink":
            factor = np.minimum(factor, 1)
        covered: npt.NDArray[np.int64] = np.maximum(np.rint(sizes * factor), 1).astype(np.int64)
        return covered

    def shown(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the size, int64 [N, 2], that images of sizes [N, 2] cover in the detector's input."""
        return np.broadcast_to(np.array(self.view), sizes.shape) if self.view else self.covered(sizes)
