"""Whether the lookup tables of several reward splits say the same: each one's variants, predicted by the others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.config import RewardConfig
from mgral.method.lut.reward import RewardTable

Float64 = npt.NDArray[np.float64]


def predict_each_other(tables: Sequence[Path], config: RewardConfig) -> list[Float64]:
    """Return for each table what the others say, on average, that its variants gain over their variants 0.

    The variants of other splits were measured on other reward images: what they foretell is not these images' noise.

    Parameters
    ----------
    tables
        At least two `table.safetensors`, of the same embeddings.

    Returns
    -------
    For each table a gain in mAP for each of its variants, -1 to 1, float64 [K].
    """
    loaded = [RewardTable.load(path, config) for path in tables]
    return [
        np.mean([other.lookup_subsets(table) - other.baseline_map for other in loaded if other is not table], axis=0)
        for table in loaded
    ]
