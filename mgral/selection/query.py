"""What a strategy is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mgral.config import Config, registry
from mgral.data.dataset import Dataset
from mgral.data.images import Images
from mgral.errors import InputError, StepError
from mgral.selection.embeddings import Embeddings
from mgral.selection.pool import check_pool, unlabelled

if TYPE_CHECKING:  # random selection does without torch
    from mgral.models.interface import Detector


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
    """The experiment, with the settings of this strategy."""
    seed: int
    cycle: int
    images: Images | None = None
    """Pixels of all training images, in the order of the data set."""
    detector: "Detector | None" = None
    """The cycle's detector, in evaluation mode, on the device to compute on."""
    embeddings: Embeddings | None = None
    agent: object = None
    """The trained `mgral.method.agent.network.Agent`, of a package above this one."""

    @property
    def budget(self) -> int:
        """Images to choose, at most those of the pool."""
        return self.config.budget


@dataclass(frozen=True)
class Choice:
    """The images that a strategy chose."""

    rows: npt.NDArray[np.int64]
    """Rows of the pool, [budget], in the order of choice."""
    scores: npt.NDArray[np.float64]
    """What each was chosen by, on the strategy's own scale, [budget]."""
    forward_passes: int = 0
    """Images shown to the detector for it."""

    @classmethod
    def best(cls, scores: npt.NDArray[Any], budget: int, forward_passes: int = 0) -> "Choice":
        """Choose the highest of the pool's scores, [n]."""
        rows = highest(scores, budget)
        return cls(rows, scores[rows].astype(np.float64), forward_passes)


@dataclass(frozen=True)
class Selection:
    """The images to label next."""

    strategy: str
    images: npt.NDArray[np.int64]
    """Their ids, [budget], in the order of choice."""
    scores: npt.NDArray[np.float64]
    """What each was chosen by, on the strategy's own scale, [budget]."""
    forward_passes: int
    """Images shown to the detector for it."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of `selection.json`."""
        chosen = {"strategy": self.strategy, "images": self.images.tolist(), "scores": self.scores.tolist()}
        return {**chosen, "forward_passes": self.forward_passes}


def select(
    strategy: str,
    config: Config,
    dataset: Dataset,
    labelled: npt.NDArray[np.int64],
    seed: int,
    cycle: int = 0,
    *,
    images: Images | None = None,
    detector: "Detector | None" = None,
    embeddings: Embeddings | None = None,
    agent: object = None,
) -> Selection:
    """Choose the images to label next.

    Parameters
    ----------
    strategy
        An instance of the configuration, which may have settings of its own; or the name of any other strategy.
    dataset
        All training images; labels of the pool are hidden from the strategy.
    labelled
        Ids of the labelled images, int64 [n].
    images, detector, embeddings, agent
        What the strategy requires of these.

    Raises
    ------
    InputError
        For an unknown strategy, one that requires more than is given, and a pool smaller than the budget.
    StepError
        Where a strategy does not choose as many images as the budget.
    """
    kind = strategy
    if strategy in config.strategies:
        kind, config = config.strategies[strategy].type, config.for_strategy(strategy)
    given = {"images": images, "detector": detector, "embeddings": embeddings, "agent": agent}
    if missing := [name for name in registry.strategy(kind).files if given[name] is None]:
        raise InputError(f"strategy {kind} needs {' and '.join(missing)}; pass what is missing")
    labelled = np.sort(labelled)
    pool = unlabelled(dataset.image_ids, labelled)
    check_pool(pool, config.budget)
    hidden = dataset.without_labels(pool)
    query = Query(hidden, labelled, pool, config, seed, cycle, images, detector, embeddings, agent)
    choice = choose(kind, query)
    return Selection(strategy, pool[choice.rows], choice.scores, choice.forward_passes)


def choose(strategy: str, query: Query) -> Choice:
    """Return what a strategy chooses; raises StepError where that is not `budget` images with finite scores."""
    function: Callable[[Query], Choice] = registry.strategy_function(strategy)
    choice = function(query)
    if len(set(choice.rows.tolist())) != query.budget or len(choice.rows) != query.budget:
        raise StepError(f"select: strategy {strategy} did not choose {query.budget} different images")
    if not np.isfinite(choice.scores).all():
        raise StepError(f"select: strategy {strategy} gave a score that is not finite")
    return choice


def highest(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Return the rows of the `count` highest scores, best first; of equal scores the earlier row comes first."""
    return np.argsort(-scores, kind="stable")[:count]
