"""Which images are labelled, which are not, and what they look like: what selection starts from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.artefacts import read_arrays, read_json
from mgral.errors import InputError


@dataclass(frozen=True)
class Embeddings:
    """The vectors of all training images, as the step `embed` writes them."""

    image_ids: npt.NDArray[np.int64]
    """Shape [N]."""
    vectors: npt.NDArray[np.float32]
    """Shape [N, D], finite."""
    path: Path
    """The file they came from, for messages."""

    def of(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the vectors of the given ids, float32 [n, D], in their order; InputError on an id without one."""
        wanted = np.asarray(image_ids, dtype=np.int64)
        order = np.argsort(self.image_ids, kind="stable")
        rows = order[np.searchsorted(self.image_ids, wanted, sorter=order).clip(max=len(order) - 1)]
        unknown = wanted[self.image_ids[rows] != wanted]
        if len(unknown):
            raise InputError(
                f"{self.path} has no embedding of images {unknown[:5].tolist()}; run the step `embed` again"
            )
        vectors: npt.NDArray[np.float32] = self.vectors[rows]
        return vectors


def load_embeddings(path: Path) -> Embeddings:
    """Read `embeddings.safetensors`; raises InputError where it is damaged or holds a value that is not finite."""
    arrays = read_arrays(path)
    try:
        image_ids, vectors = arrays["image_ids"], arrays["embeddings"]
    except KeyError as error:
        raise InputError(f"{path} holds no array {error}; run the step `embed` again") from None
    if vectors.ndim != 2 or image_ids.shape != vectors.shape[:1] or len(image_ids) == 0:
        raise InputError(f"{path} does not hold one embedding an image; run the step `embed` again")
    if not np.isfinite(vectors).all():
        raise InputError(f"{path} holds an embedding that is not finite; run the steps `detector` and `embed` again")
    return Embeddings(image_ids.astype(np.int64), vectors.astype(np.float32), path)


def load_labelled(path: Path) -> npt.NDArray[np.int64]:
    """Return the ids in `labelled.json`, int64 [n], ascending."""
    content = read_json(path)
    try:
        ids = np.array(content["images"], dtype=np.int64)
    except (KeyError, TypeError, ValueError):
        raise InputError(f'{path} is not {{"images": [ids]}}; delete it and run its step again') from None
    return np.unique(ids)


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
