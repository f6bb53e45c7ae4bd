"""Strategy `random`: every batch of the pool is equally likely."""

import numpy as np
import numpy.typing as npt

from mgral.artefacts import derive_seed
from mgral.strategies import Query


def scores(query: Query) -> npt.NDArray[np.float64]:
    """Return seeded uniform scores in [0, 1), float64 [n]."""
    rng = np.random.default_rng(derive_seed(query.seed, "random selection", query.cycle))
    return rng.random(len(query.pool))
