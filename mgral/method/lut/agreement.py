"""Agreement between the lookup tables of several reward splits: each predicts the variants of the others."""

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


class GainComparison(NamedTuple):
    """Gains of the variants of a table, in mAP, -1 to 1."""

    measured: Float64
    """Measured gain of each variant, float64 [K]."""
    predicted: Float64
    """Gain that the other tables predict, float64 [K]."""


def predict_each_other(tables: Sequence[Path], config: RewardConfig) -> list[GainComparison]:
    """Compare the gain of each variant over variant 0 with the gain that the tables of the other splits predict.

    The variants of other splits were measured on other reward images, so they cannot predict the noise of these
    images. With a regression, the gains are what the number of images of a variant does not explain.

    Parameters
    ----------
    tables
        At least two files `table.safetensors`, made with the same embeddings.

    Returns
    -------
    A comparison for each table, in the order given.
    """
    if config.estimator == "regression":
        return compare_by_regression([as_sample(read_table(path, config)) for path in tables])
    loaded = [RewardTable.load(path, config) for path in tables]
    comparisons = []
    for table in loaded:
        other_tables = [other for other in loaded if other is not table]
        predicted = np.mean([other.lookup_subsets(table) - other.baseline_map for other in other_tables], axis=0)
        comparisons.append(GainComparison(table.maps - table.baseline_map, predicted))
    return comparisons


def predict_by_counts(tables: Sequence[Path], config: RewardConfig) -> list[GainComparison]:
    """Compare the gains with a regression whose only feature is the square root of a class's objects.

    Parameters and result are those of `predict_each_other`.
    """
    arrays = [read_table(path, config) for path in tables]
    return compare_by_regression([as_sample({**table, "features": table["roots"][..., None]}) for table in arrays])


def compare_by_regression(samples: Sequence[Sample]) -> list[GainComparison]:
    """Compare the gains of each table with those that a regression on the other tables predicts.

    Gains are what the number of images of a variant does not explain.
    """
    predictions = predict_left_out(samples)
    ends = np.cumsum([len(sample.values) for sample in samples])[:-1]
    by_table = zip(np.split(predictions.measured, ends), np.split(predictions.learned, ends), strict=True)
    return [GainComparison(measured, predicted) for measured, predicted in by_table]
