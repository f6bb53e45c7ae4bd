"""Tables of several reward splits, compared with each other."""

import numpy as np
import pytest

from mgral.artefacts.files import write_arrays
from mgral.config import RewardConfig
from mgral.method.lut.agreement import predict_each_other
from mgral.method.lut.wasserstein import draw_projections, project_and_sort

NEAREST = RewardConfig(distance="sliced", estimator="nearest", projections=4)


@pytest.fixture
def write_table(tmp_path):
    """Write a table of subsets of three alike images, at the given places."""

    def write(name: str, places: list[tuple[float, float]], values: list[float], baseline: float):
        subsets = np.repeat(np.array(places, np.float32)[:, None], 3, axis=1)
        projections = draw_projections(2, NEAREST.projections, np.random.default_rng(0))
        arrays = {
            "map": np.array(values),
            "values": np.array(values)[:, None],
            "baseline_map": np.array([baseline]),
            "embeddings": subsets,
            "projections": projections,
            "sorted": project_and_sort(subsets, projections),
            "kernel_widths": np.ones(1),
        }
        write_arrays(tmp_path / f"{name}.safetensors", arrays)
        return tmp_path / f"{name}.safetensors"

    return write


def test_a_table_is_predicted_by_what_the_others_gain_and_never_by_itself(write_table):
    tables = [
        write_table("first", [(0, 0), (5, 5)], [0.3, 0.9], 0.2),
        write_table("second", [(5, 5.1), (0, 0.1)], [0.5, 0.6], 0.4),
        write_table("third", [(0.1, 0), (5.1, 5)], [0.7, 0.4], 0.5),
    ]
    first, second, third = predict_each_other(tables, NEAREST)
    np.testing.assert_allclose(first, [(0.2 + 0.2) / 2, (0.1 - 0.1) / 2])
    np.testing.assert_allclose(second, [(0.7 - 0.1) / 2, (0.1 + 0.2) / 2])
    np.testing.assert_allclose(third, [(0.1 + 0.2) / 2, (0.7 + 0.1) / 2])
