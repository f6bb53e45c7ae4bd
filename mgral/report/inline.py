"""Pictures that are part of the page itself."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

# Keeps three strategies' sheets of two cycles near 1 MB.
_LONGEST_SIDE = 224


@dataclass(frozen=True)
class Inline:
    """A small picture."""

    source: str
    """JPEG as a data URI."""
    width: int
    height: int


def inline_picture(pixels: npt.NDArray[np.uint8], original: npt.NDArray[np.int64]) -> Inline:
    """Return an image of the cache, uint8 [height, width, 3], with the aspect ratio of its original size [2]."""
    picture = Image.fromarray(pixels)
    # The cache stretches images to the detector's shape; the eye wants the photograph's own.
    longest = min(_LONGEST_SIDE, max(picture.size))
    width, height = (max(1, round(float(side) * longest / float(original.max()))) for side in original)
    content = io.BytesIO()
    picture.resize((width, height), Image.Resampling.LANCZOS).save(content, "JPEG", quality=85)
    source = "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
    return Inline(source, width, height)
