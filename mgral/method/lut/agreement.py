"""Whether the lookup tables of several reward splits agree: each one's variants, predicted by the others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.config import RewardConfig
from mgral.method.lut.learned import as_sample
from mgral.method.lut.regression import Sample, predict_left_out
from mgral.method.lut.reward import RewardTable, read_table

Float64 = npt.NDArray[np.float64]
Arrays = dict[str, npt.NDArray[Any]]


class Compared(NamedTuple):
    """The variants of a table: what they gain in mAP, -1 to 1, [K], and what the other tables predict."""

    measured: Float64
    predicted: Float64


def predict_each_other(tables: Sequence[Path], config: RewardConfig) -> list[Compared]:
    """Compare what variants gain over their variant 0 with what the tables of the other splits predict.

    The variants of other splits were measured on other reward images: what they predict is not these images' noise.
    Of a regression it is what variants gain beyond what the number of their images explains.

    Parameters
    ----------
    tables
        At least two `table.safetensors`, of the same embeddings.

    Returns
    -------
    One for each table, in their order.
    """
    if config.estimator == "regression":
        return _by_regression([as_sample(read_table(path, config)) for path in tables])
    loaded = [RewardTable.load(path, config) for path in tables]
    found = []
    for table in loaded:
        others = [other for other in loaded if other is not table]
        predicted = np.mean([other.lookup_subsets(table) - other.baseline_map for other in others], axis=0)
        found.append(Compared(table.maps - table.baseline_map, predicted))
    return found


def predict_by_counts(tables: Sequence[Path], config: RewardConfig) -> list[Compared]:
    """Compare with a regression on the roots of the objects of each class alone, the form that needs no table."""
    arrays = [read_table(path, config) for path in tables]
    return _by_regression([as_sample({**one, "features": one["roots"][..., None]}) for one in arrays])


def _by_regression(samples: Sequence[Sample]) -> list[Compared]:
    found = predict_left_out(samples)
    ends = np.cumsum([len(one.values) for one in samples])[:-1]
    return [Compared(*of) for of in zip(np.split(found.measured, ends), np.split(found.learned, ends), strict=True)]
