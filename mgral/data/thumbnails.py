"""Grey thumbnails of the images, by which near-copies are found."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mgral.artefacts.integrity import verify_file
from mgral.errors import InputError

SIDE = 24
"""Width and height of a thumbnail, in pixels."""


def thumbnail(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Return a picture stretched to a square and in grey, uint8 [24, 24]: each value the mean of what it covers."""
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(small.convert("L"))


def load_thumbnails(path: Path, images: int, step: str = "cache") -> npt.NDArray[np.uint8]:
    """Map the thumbnails of a split into memory, uint8 [N, 24, 24], row n of image n.

    Raises
    ------
    InputError
        Where they cannot be read, or are not of so many images.
    """
    try:
        verify_file(path)
        thumbnails: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({error}); delete it and run the step `{step}` again") from None
    if thumbnails.dtype != np.uint8 or thumbnails.shape != (images, SIDE, SIDE):
        raise InputError(f"{path} does not belong to its data set; delete it and run the step `{step}` again")
    return thumbnails
