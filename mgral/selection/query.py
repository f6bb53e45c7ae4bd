"""What a strategy is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.config import Config, registry
from mgral.data.dataset import Dataset
from mgral.errors import StepError


@dataclass(frozen=True)
class Query:
    """What a strategy may look at; the files are there for the strategies that require them."""

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
    images: Path | None = None
    detector: Path | None = None
    embeddings: Path | None = None
    agent: Path | None = None
    gpus: int = 0
    """What a strategy that runs the detector may use; 0 for the CPU."""

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
