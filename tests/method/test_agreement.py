"""Tables of several reward splits, compared with each other."""

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.artefacts.files import write_arrays
from mgral.config import EmbeddingConfig, RewardConfig
from mgral.method.lut.agreement import predict_by_counts, predict_each_other
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.table import VariantScores, table_arrays
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
    compared = predict_each_other(tables, NEAREST)
    first, second, third = (one.predicted for one in compared)
    np.testing.assert_allclose(compared[0].measured, [0.3 - 0.2, 0.9 - 0.2])
    np.testing.assert_allclose(first, [(0.2 + 0.2) / 2, (0.1 - 0.1) / 2])
    np.testing.assert_allclose(second, [(0.7 - 0.1) / 2, (0.1 + 0.2) / 2])
    np.testing.assert_allclose(third, [(0.1 + 0.2) / 2, (0.7 + 0.1) / 2])


def test_by_regression_gains_are_compared_beyond_what_the_number_of_images_explains(tmp_path):
    """AP rises with the images that show the class, of whose objects tell less. The second table's is higher."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 2, (40, 1)) * rng.choice([1, 30], (40, 1))
    embeddings = made_embeddings(np.arange(40), rng.normal(size=(40, 2)), counts)
    tables, measured, sizes = [], [], np.linspace(8, 30, 10).astype(int)
    for name, level in (("first", 0.2), ("second", 0.5)):
        subsets = [np.sort(rng.choice(40, size, replace=False)).tolist() for size in sizes]
        shown = np.array([(counts[rows] > 0).sum() for rows in subsets])
        maps = np.array([0.05, *(level + 0.2 * np.log1p(shown))])
        plan = SubsetPlan("labels", "cold", (), (), ((), *map(tuple, subsets)))
        scores = VariantScores(maps, maps[:, None])
        arrays, _ = table_arrays(scores, plan, embeddings, EmbeddingConfig(), RewardConfig(), seed=0)
        tables.append(tmp_path / f"{name}.safetensors")
        write_arrays(tables[-1], arrays)
        measured.append(maps[1:])
    learned, counted = (of(tables, RewardConfig()) for of in (predict_each_other, predict_by_counts))
    for one, other, own in zip(learned, counted, measured, strict=True):
        beyond = own - np.polyval(np.polyfit(np.log(sizes), own, 1), np.log(sizes))
        np.testing.assert_allclose(one.measured, beyond, atol=1e-12)
        np.testing.assert_allclose(other.measured, beyond, atol=1e-12)
        by_images, by_counts = (np.corrcoef(found.predicted, beyond)[0, 1] for found in (one, other))
        assert by_images > 0.8
        assert by_images > by_counts
