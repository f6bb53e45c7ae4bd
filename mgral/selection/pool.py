"""Which images are labelled, which are not, and what they look like: what selection starts from."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import map_arrays, read_json
from mgral.artefacts.seeds import derive_seed
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
    path: Path | None = None
    """The file they came from, if any, for messages."""
    no_object: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """What stands for no object of a class, [C]."""
    unit: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """How many objects of a class a difference of 1 stands for, [C]; 0 where all images are to have as many."""

    def __str__(self) -> str:
        return str(self.path or "the embeddings")

    @property
    def classes(self) -> int:
        """How many of the D dimensions, the last, are of a class each; 0 without any."""
        return int(self.vectors.shape[1]) - self.components

    def of(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the vectors of the given ids, float32 [n, D], in their order; InputError on an id without one."""
        rows, unknown = find_rows(self.image_ids, image_ids)
        if len(unknown):
            raise InputError(f"{self} has no embedding of images {unknown[:5].tolist()}; run the step `embed` again")
        vectors: npt.NDArray[np.float32] = self.vectors[rows]
        return vectors

    def components_of(self, image_ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Return the principal components alone, float32 [n, components], as `of` does."""
        return self.of(image_ids)[:, : self.components]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the content of `embeddings.safetensors`."""
        of_classes = {"no_object": self.no_object, "unit": self.unit} if self.classes else {}
        components = np.array([self.components])
        return {"image_ids": self.image_ids, "components": components, "embeddings": self.vectors, **of_classes}


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


def draw_initial(image_ids: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw the images that are labelled at the start, uniformly and without replacement.

    Parameters
    ----------
    image_ids
        Ids of all training images, int64 [N].
    count
        The setting `initial`.

    Returns
    -------
    Ids, int64 [count], ascending.

    Raises
    ------
    InputError
        Where there are fewer images than that.
    """
    if count > len(image_ids):
        raise InputError(f"initial: {count} images asked for, there are {len(image_ids)}; lower `initial`")
    rng = np.random.default_rng(derive_seed(seed, "initial"))
    return np.sort(rng.choice(np.sort(image_ids), count, replace=False))


def add_selection(
    image_ids: npt.NDArray[np.int64], labelled: npt.ArrayLike, selection: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Return the labelled images of the next cycle: the union of those of this one and the selected ones.

    Parameters
    ----------
    image_ids
        Ids of all training images, int64 [N].
    labelled, selection
        Ids, each at most once.

    Returns
    -------
    Ids, int64 [n], ascending.

    Raises
    ------
    InputError
        Where a selected image is labelled already, and where an image is none of the data set.
    """
    before, chosen = np.array(labelled, dtype=np.int64), np.array(selection, dtype=np.int64)
    if len(again := np.intersect1d(before, chosen)):
        raise InputError(f"selection: images {again[:5].tolist()} are labelled already; select again")
    for name, ids in (("labelled", before), ("selection", chosen)):
        if len(unknown := np.setdiff1d(ids, image_ids)):
            raise InputError(f"{name}: images {unknown[:5].tolist()} are not in the data set; make it again")
    return np.union1d(before, chosen)


def check_pool(pool: npt.NDArray[np.int64], budget: int) -> None:
    """Raise InputError where fewer images than the budget are left to choose from."""
    if budget > len(pool):
        raise InputError(
            f"budget: {budget} images are to be chosen, but the pool holds {len(pool)}; lower budget or cycles"
        )
