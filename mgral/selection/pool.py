"""Which images are labelled and which are not."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.artefacts.seeds import derive_seed
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


def read_batch(path: Path) -> list[int]:
    """Return all images of selection.json that people are to label: those chosen, then those drawn as controls."""
    chosen, content = read_image_ids(path), read_json(path)
    return [*chosen, *(image for image in content.get("controls", []) if image not in set(chosen))]


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
    labelled_ids, selected_ids = np.array(labelled, dtype=np.int64), np.array(selection, dtype=np.int64)
    if len(already_labelled := np.intersect1d(labelled_ids, selected_ids)):
        raise InputError(f"selection: images {already_labelled[:5].tolist()} are labelled already; select again")
    for name, ids in (("labelled", labelled_ids), ("selection", selected_ids)):
        if len(unknown := np.setdiff1d(ids, image_ids)):
            raise InputError(f"{name}: images {unknown[:5].tolist()} are not in the data set; make it again")
    return np.union1d(labelled_ids, selected_ids)


def one_of_each(pool: npt.NDArray[np.int64], groups: Sequence[Sequence[int]], seed: int) -> npt.NDArray[np.int64]:
    """Return the pool with one image of each group, drawn by seed, int64 [n], ascending.

    Parameters
    ----------
    pool
        Ids, int64 [N]; those of no group stay.
    groups
        Ids of images that are near-copies of each other, each in one group at most.
    """
    group_of = {image: number for number, group in enumerate(groups) for image in group}
    shuffled = np.random.default_rng(seed).permutation(np.sort(pool)).tolist()
    image_of_group: dict[int, int] = {}
    for image in shuffled:
        if image in group_of:
            image_of_group.setdefault(group_of[image], image)
    ungrouped = [image for image in shuffled if image not in group_of]
    return np.array(sorted([*ungrouped, *image_of_group.values()]), dtype=np.int64)


def check_pool(pool: npt.NDArray[np.int64], budget: int) -> None:
    """Raise InputError where fewer images than the budget are left to choose from."""
    if budget > len(pool):
        raise InputError(
            f"budget: {budget} images are to be chosen, but the pool holds {len(pool)}; lower budget or cycles"
        )
