"""Which images are labelled and which are not."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.errors import InputError


def read_image_ids(path: Path) -> list[int]:
    """Return the `images` of labelled.json or selection.json, in order; InputError where there is no such list."""
    content = read_json(path)
    ids = content.get("images") if isinstance(content, dict) else None
    if not isinstance(ids, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise InputError(f"{path}: `images` is not a list of image ids; delete the file and run its step again")
    if len(set(ids)) < len(ids):
        raise InputError(f"{path}: `images` names an image more than once; delete the file and run its step again")
    return ids


def load_labelled(path: Path) -> npt.NDArray[np.int64]:
    """Return the ids in `labelled.json`, int64 [n], ascending."""
    return np.array(sorted(read_image_ids(path)), dtype=np.int64)


def unlabelled(image_ids: npt.NDArray[np.int64], labelled: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the pool: the ids that are not labelled, int64 [n], ascending."""
    unknown = np.setdiff1d(labelled, image_ids)
    if len(unknown):
        raise InputError(
            f"labelled images {unknown[:5].tolist()} are not in the data set; run the step `label` again"
        )
    return np.setdiff1d(image_ids, labelled)


def check_pool(pool: npt.NDArray[np.int64], budget: int) -> None:
    """Raise InputError where fewer images than the budget are left to choose from."""
    if budget > len(pool):
        raise InputError(
            f"budget: {budget} images are to be chosen, but the pool holds {len(pool)}; lower budget or cycles"
        )
