"""The plan of a lookup table, `subsets.json`: the images that variants learn from, and those that measure them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import REASON, read_json
from mgral.config import LutConfig
from mgral.errors import InputError, SparseError

REWARD_SHARE = 1 / 3
"""Largest fraction of the pool that may become reward images with `lut.labels: pseudo_labels`."""


SMALLEST = 0.3
"""Size of the smallest subset as a fraction of the available images, with `labels: labels` and `start: cold`."""


def sizes_of(images: int, variants: int) -> list[int]:
    """Return the sizes of the subsets, ascending to all `images`, with `labels: labels` and `start: cold`."""
    return [max(1, round(size)) for size in np.geomspace(SMALLEST * images, images, variants).tolist()]


def rewards_of_pool(lut: LutConfig, pool: int) -> int:
    """Return the number of reward images in a pool of N images, with `lut.labels: pseudo_labels`."""
    return min(lut.reward_images, max(1, int(REWARD_SHARE * pool)))


@dataclass(frozen=True)
class SubsetPlan:
    """Lists of image ids for a table, each ascending; no reward image is in another list."""

    labels: str
    """`lut.labels`: what a variant learns from its subset."""
    start: str
    """`lut.start`: the weights from which a variant starts."""
    reward: tuple[int, ...]
    """Reward images, the paper's V_t: the mAP of every variant is measured on them."""
    base: tuple[int, ...]
    """Labelled images that every variant is trained on."""
    subsets: tuple[tuple[int, ...], ...]
    """Subsets S_0..S_K. S_0 is empty. Others differ in size only with `labels: labels` and `start: cold`."""

    @property
    def images(self) -> npt.NDArray[np.int64]:
        """Images of the subsets S_1..S_K, int64 [K, M]; smaller subsets repeat their images evenly."""
        longest = max(map(len, self.subsets))
        rows_by_subset = [np.arange(longest) * len(subset) // longest for subset in self.subsets[1:]]
        return np.array(
            [np.array(subset)[rows] for subset, rows in zip(self.subsets[1:], rows_by_subset, strict=True)],
            dtype=np.int64,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of `subsets.json`."""
        return {
            "labels": self.labels,
            "start": self.start,
            "reward": list(self.reward),
            "base": list(self.base),
            "subsets": [{"variant": k, "images": list(images)} for k, images in enumerate(self.subsets)],
        }


def load_plan(path: Path) -> SubsetPlan:
    """Read `subsets.json`.

    Raises
    ------
    InputError
        If the file is not a valid plan.
    SparseError
        If the file contains a reason why there is no plan.
    """
    content = read_json(path)
    if isinstance(content, dict) and REASON in content:
        raise SparseError(content[REASON])
    try:
        subsets = tuple(tuple(entry["images"]) for entry in content["subsets"])
        variants = [entry["variant"] for entry in content["subsets"]]
        settings = content["labels"], content["start"]
        plan = SubsetPlan(*settings, tuple(content["reward"]), tuple(content["base"]), subsets)
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not a plan of subsets ({error}); run the step `subsets` again") from None
    if variants != list(range(len(subsets))) or len(subsets) < 3 or subsets[0] or not all(subsets[1:]):
        raise InputError(
            f"{path} does not contain variant 0 without images and variants 1..K with some; "
            "run the step `subsets` again"
        )
    return plan
