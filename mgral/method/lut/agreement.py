"""Whether the lookup tables of several reward splits agree: each one's variants, predicted by the others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.config import RewardConfig
from mgral.method.lut.learned import as_sample
from mgral.method.lut.regression import predict_left_out
from mgral.method.lut.reward import RewardTable, read_table

Float64 = npt.NDArray[np.float64]


def predict_each_other(tables: Sequence[Path], config: RewardConfig) -> list[Float64]:
    """Return for each table what the others predict that its variants gain over their variants 0.

    The variants of other splits were measured on other reward images: what they predict is not these images' noise.
    The regression predicts differences between a table's variants, which are given here beside the mean of the table.

    Parameters
    ----------
    tables
        At least two `table.safetensors`, of the same embeddings.

    Returns
    -------
    For each table a gain in mAP for each of its variants, -1 to 1, float64 [K].
    """
    if config.estimator == "regression":
        return _by_regression([read_table(path, config) for path in tables])
    loaded = [RewardTable.load(path, config) for path in tables]
    return [
        np.mean([other.lookup_subsets(table) - other.baseline_map for other in loaded if other is not table], axis=0)
        for table in loaded
    ]


def _by_regression(tables: Sequence[dict[str, npt.NDArray[Any]]]) -> list[Float64]:
    predicted = predict_left_out([as_sample(one) for one in tables]).learned
    ends = np.cumsum([len(one["map"]) for one in tables])[:-1]
    gains = [one["map"].mean() - one["baseline_map"][0] for one in tables]
    return [gain + part for gain, part in zip(gains, np.split(predicted, ends), strict=True)]
