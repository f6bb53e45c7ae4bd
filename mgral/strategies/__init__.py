"""Query strategies behind one interface: a score for each image of the pool, of which the best are chosen.

A strategy is a module of this folder with `scores(query: Query) -> float [n]` for the n pool images, in their order.
`STRATEGIES` says what each needs, so that the command line can ask for it before anything heavy is imported.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.config import DetectorConfig
from mgral.data.dataset import Dataset
from mgral.errors import StepError


class StrategyNeeds(NamedTuple):
    """What a strategy is, and the options of the step `select` that it cannot do without."""

    summary: str
    needs: tuple[str, ...] = ()


STRATEGIES: dict[str, StrategyNeeds] = {
    "mgral": StrategyNeeds("the trained agent's scores", ("embeddings", "agent")),
    "random": StrategyNeeds("uniform at random"),
    "entropy": StrategyNeeds("the detector's uncertainty", ("images", "detector")),
}


@dataclass(frozen=True)
class Query:
    """What a strategy may look at; the files are there for the strategies that need them."""

    dataset: Dataset
    """All training images; a strategy must not look at the boxes of the pool."""
    pool: npt.NDArray[np.int64]
    """Ids of the unlabelled images, ascending."""
    seed: int
    cycle: int
    detector_config: DetectorConfig
    images: Path | None = None
    detector: Path | None = None
    embeddings: Path | None = None
    agent: Path | None = None
    gpus: int = 0
    """What a strategy that runs the detector may use; 0 for the CPU."""


def score_pool(strategy: str, query: Query) -> npt.NDArray[np.float64]:
    """Return a strategy's scores of the pool, float64 [n]; raises StepError where one is not finite."""
    scores = np.asarray(import_module(f"mgral.strategies.{strategy}").scores(query), dtype=np.float64)
    if not np.isfinite(scores).all():
        raise StepError(f"select: strategy {strategy} gave a score that is not finite")
    return scores


def highest(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """Return the rows of the `count` highest scores, best first; of equal scores the earlier row comes first."""
    return np.argsort(-scores, kind="stable")[:count]
