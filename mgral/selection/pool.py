"""Which images are labelled, which are not, and what they look like: what selection starts from."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import map_arrays, read_json
from mgral.data.dataset import find_rows
from mgral.errors import InputError


@dataclass(frozen=True)
class Embeddings:
    """The vectors of all training images, as the step `embed` writes them."""

    image_ids: npt.NDArray[np.int64]
    """Shape [N]."""
    vectors: npt.NDArray[np.float32]
    """Shape [N, D], finite: principal components, and the objects to expect of each class, standardised."""
    components: int
    """The first so many of the D dimensions."""
    path: Path
    """The file they came from, for messages."""
    no_object: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """What stands for no object of a class, [C]."""
    unit: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """How many objects of a class a difference of 1 stands for, [C]; 0 where all images are to have as many."""

    @property
    def classes(self) -> int:
        """How many of the D dimensions, the last, are of a class each; 0 without any."""
        return int(self.vectors.shape[1]) - self.components

    def of(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the vectors of the given ids, float32 [n, D], in their order; InputError on an id without one."""
        rows, unknown = find_rows(self.image_ids, image_ids)
        if len(unknown):
            raise InputError(
                f"{self.path} has no embedding of images {unknown[:5].tolist()}; run the step `embed` again"
            )
        vectors: npt.NDArray[np.float32] = self.vectors[rows]
        return vectors

    def components_of(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the principal components alone, float32 [n, components], as `of` does."""
        return self.of(image_ids)[:, : self.components]


def load_embeddings(path: Path) -> Embeddings:
    """Map `embeddings.safetensors`; raises InputError where it is damaged or holds a value that is not finite."""
    arrays = map_arrays(path)
    try:
        image_ids, vectors, components = arrays["image_ids"], arrays["embeddings"], int(arrays["components"][0])
        of_classes = () if components == vectors.shape[-1] else (arrays["no_object"], arrays["unit"])
    except KeyError as error:
        raise InputError(f"{path} holds no array {error}; run the step `embed` again") from None
    if vectors.ndim != 2 or image_ids.shape != vectors.shape[:1] or len(image_ids) == 0:
        raise InputError(f"{path} does not hold one embedding an image; run the step `embed` again")
    if not np.isfinite(vectors).all():
        raise InputError(f"{path} holds an embedding that is not finite; run the steps `detector` and `embed` again")
    ids = image_ids.astype(np.int64, copy=False)
    return Embeddings(ids, vectors.astype(np.float32, copy=False), components, path, *of_classes)


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
