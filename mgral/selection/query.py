"""What a strategy is given and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, images_in
from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.data.results import FoundBoxes
from mgral.errors import StepError
from mgral.selection.embeddings import Embeddings

if TYPE_CHECKING:  # random selection does without torch
    from torch import nn

    from mgral.models.interface import DetectorModel


SAME_SCORES = "all images of the pool have the same score"
"""Why a strategy that scores images chooses at random."""


@dataclass(frozen=True)
class NotMade:
    """What strategies have in the place of tables or an agent that could not be made."""

    reason: str


@dataclass(frozen=True)
class Query:
    """What a strategy knows; what only some strategies require is None for the others."""

    dataset: Dataset
    """All training images; those of the pool have no boxes."""
    labelled: npt.NDArray[np.int64]
    """Ids of the labelled images, ascending."""
    pool: npt.NDArray[np.int64]
    """Ids of the unlabelled images, ascending."""
    config: Config
    """The experiment, with the settings of this strategy; its budget is in images."""
    seed: int
    cycle: int
    images: Images | None = None
    """Pixels of all training images, in the order of the data set."""
    detector: "DetectorModel | None" = None
    """The cycle's detector, in evaluation mode, on the device to compute on."""
    found: FoundBoxes | None = None
    """Detections in all training images, given in place of `detector` if that is a command of the user."""
    embeddings: Embeddings | None = None
    tables: object = None
    """Lookup tables, `mgral.method.lut.reward.AnyTables`; or `NotMade`, if they could not be made.

    The type is `object`, as this package must not import `mgral.method` (ARCHITECTURE.md).
    """
    agent: object = None
    """The trained agent, `Agent` or `BatchAgent` of `mgral.method.agent`; or `NotMade`."""
    head: "nn.Module | None" = None
    """The strategy's head, trained along with the detector, in evaluation mode, on the detector's device."""
    groups: Sequence[Sequence[int]] | None = None
    """Ids of training images that are near-copies of each other, each in one group at most."""

    @property
    def budget(self) -> int:
        """Images to choose, at most the pool. With a budget in boxes, only the first of them are labelled, until the
        boxes are used."""
        return images_in(self.config.budget)


@dataclass(frozen=True)
class Choice:
    """The images that a strategy chose."""

    rows: npt.NDArray[np.int64]
    """Rows of the pool, [budget], in the order of choice."""
    scores: npt.NDArray[np.float64]
    """What each was chosen by, on the strategy's own scale, [budget]."""
    forward_passes: int = 0
    """Images shown to the detector for it."""
    reason: str | None = None
    """Why they were drawn at random, where a strategy that chooses otherwise could not."""
    note: str | None = None
    """How they were chosen, where that was neither at random nor in the strategy's usual way."""
    undecided: bool = False
    """Whether the strategy sees no difference between the images of the pool: `choose` then draws at random."""
    tied: int = 0
    """How many images at its end were drawn from more of the same score."""

    @classmethod
    def best(cls, scores: npt.NDArray[Any], budget: int, forward_passes: int = 0) -> "Choice":
        """Choose the highest of the pool's scores, [n], numbers; undecided where all are equal."""
        if nans := int(np.isnan(scores).sum()):
            raise StepError(f"select: {nans} of {len(scores)} scores are not a number (NaN); give each image one")
        rows = highest(scores, budget)
        chosen_scores = scores[rows]
        chosen_ties = int((chosen_scores == chosen_scores[-1]).sum())
        tied = chosen_ties if chosen_ties < (scores == chosen_scores[-1]).sum() else 0
        return cls(rows, chosen_scores.astype(np.float64), forward_passes, undecided=all_equal(scores), tied=tied)

    def among(self, candidates: npt.NDArray[np.int64]) -> "Choice":
        """Return a choice among some images of the pool, rows [k], as one of the whole pool."""
        return replace(self, rows=candidates[self.rows])


def highest(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Return the rows of the `count` highest scores, best first; of equal scores in the order of `drawn_order`."""
    order = drawn_order(len(scores))
    return order[np.argsort(-scores[order], kind="stable")][:count]


def drawn_order(images: int) -> npt.NDArray[np.int64]:
    """Return the rows of a pool in an order drawn once for each size of pool, int64 [n].

    Equal images are chosen in this order. In the order of their ids they would often be neighbours: frames of one
    video, or pictures of one day.
    """
    return np.random.default_rng(images).permutation(images)


def all_equal(scores: npt.NDArray[Any]) -> bool:
    """Return whether scores, [n], tell no image from another."""
    return bool((scores == scores[0]).all())


def choose_uniformly(query: Query, purpose: str, reason: str | None = None) -> Choice:
    """Choose by uniform scores in [0, 1) that are others for each purpose, seed and cycle."""
    rng = np.random.default_rng(derive_seed(query.seed, purpose, query.cycle))
    return replace(Choice.best(rng.random(len(query.pool)), query.budget), reason=reason)
