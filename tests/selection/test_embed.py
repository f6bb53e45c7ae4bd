"""Embeddings: principal components, whatever the solver, at a common scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from squares import square_set, write_experiment
from squares_query import CONFIG, squares_query

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.config import Config, EmbeddingConfig, RewardConfig, resolve_config
from mgral.data.image_set import ImageSet
from mgral.models import Detections, save_detector
from mgral.selection.features import embed_images, project, standardise, sum_by_class
from mgral.selection.pool import Embeddings, load_embeddings


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 12)) + 3
    values[:, 4] = 1.0  # a dead feature
    return values.astype(np.float32)


def test_embeddings_span_the_principal_components(features: np.ndarray) -> None:
    standardised = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    standardised /= np.where(standardised.std(0) > 1e-9, standardised.std(0), 1)
    expected = PCA(3).fit_transform(standardised)
    found = project(features, 3)
    correlation = np.corrcoef(expected.T, found.T)[:3, 3:]
    np.testing.assert_allclose(np.abs(correlation), np.eye(3), atol=1e-4)


def test_the_mean_squared_norm_is_one(features: np.ndarray) -> None:
    assert np.square(project(features, 4)).sum(1).mean() == pytest.approx(1, rel=1e-5)
    assert np.square(project(features * 100, 4)).sum(1).mean() == pytest.approx(1, rel=1e-5)


def test_there_are_at_most_as_many_dimensions_as_images(features: np.ndarray) -> None:
    assert project(features[:3], 8).shape == (3, 3)


def test_identical_images_have_identical_embeddings(features: np.ndarray) -> None:
    twins = np.concatenate([features, features[:1]])
    embeddings = project(twins, 4)
    np.testing.assert_allclose(embeddings[0], embeddings[-1], atol=1e-6)


@pytest.mark.parametrize("dimensions", [1, 4, 6])
def test_a_large_pool_has_the_same_components_in_parts(features: np.ndarray, dimensions: int, monkeypatch) -> None:
    features[:, 4] = 0.1
    whole = project(features, dimensions)
    monkeypatch.setattr("mgral.selection.features.LARGE", 0)
    monkeypatch.setattr("mgral.selection.features.PART", 7)
    np.testing.assert_allclose(project(features, dimensions), whole, atol=1e-6)


def test_class_scores_add_up_by_class() -> None:
    found = Detections(torch.zeros(4, 4), torch.tensor([0.75, 0.5, 0.25, 0.125]), torch.tensor([2, 0, 2, 2]))
    assert sum_by_class(found, 4).tolist() == [0.5, 0.0, 1.125, 0.0]


def test_each_class_weighs_the_same_unless_it_is_never_seen() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((30, 3)) * [1, 100, 0] + [0, 5, 2]).astype(np.float32)
    found, zero, unit = standardise(scores)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(0), [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
    assert np.square(found).sum(1).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose((found - zero) * unit, scores * [1, 1, 0], rtol=1e-5, atol=1e-4)
    assert (standardise(np.ones((4, 2), np.float32)).values == 0).all()


LABELLED = np.arange(10, 15)


def _embed(data: ImageSet, object_counts: bool) -> Embeddings:
    """Embed 12 squares, of which the first five are labelled."""
    config = Config(
        detector=CONFIG,
        embedding=EmbeddingConfig(dimensions=5, object_counts=object_counts),
        reward=RewardConfig(distance="sliced", estimator="kernel"),
    )
    detector = squares_query().detector
    return embed_images(config, data, LABELLED, detector, seed=0)


def _with_boxes(data: ImageSet, counts: dict[int, int]) -> ImageSet:
    """Repeat the box of some images, by row, or leave it out."""
    boxes, labels = list(data.dataset.boxes), list(data.dataset.labels)
    for row, count in counts.items():
        boxes[row], labels[row] = np.repeat(boxes[row], count, axis=0), np.repeat(labels[row], count)
    return replace(data, dataset=replace(data.dataset, boxes=tuple(boxes), labels=tuple(labels)))


@pytest.mark.parametrize("object_counts", [True, False])
def test_object_counts_stand_beside_the_components(object_counts: bool) -> None:
    embeddings = _embed(_with_boxes(square_set(), {1: 2, 3: 2}), object_counts)
    assert embeddings.vectors.shape == (12, 5 + object_counts)
    assert embeddings.components == 5
    assert embeddings.components_of([21, 10]).shape == (2, 5)
    np.testing.assert_array_equal(embeddings.components_of([21, 10]), embeddings.of([21, 10])[:, :5])
    if object_counts:
        expected = (embeddings.vectors[:, -1] - embeddings.no_object) * embeddings.unit
        assert expected.min() > 0.5
        assert expected.max() < 2.5
        assert expected.std() > 0


def test_labels_of_the_pool_do_not_matter_and_those_of_labelled_images_do() -> None:
    data = _with_boxes(square_set(), {1: 2, 3: 2})
    before = _embed(data, object_counts=True).vectors
    pool = _with_boxes(data, {row: row % 3 for row in range(5, 12)})
    assert _embed(pool, object_counts=True).vectors.tobytes() == before.tobytes()
    labelled = _with_boxes(data, {2: 0})
    assert _embed(labelled, object_counts=True).vectors.tobytes() != before.tobytes()


@pytest.mark.parametrize("object_counts", [True, False])
def test_the_step_writes_what_is_read_again(object_counts: bool, tmp_path: Path) -> None:
    write_experiment(tmp_path)
    write_json(tmp_path / "labelled.json", {"images": LABELLED.tolist()})
    save_detector(squares_query().detector, tmp_path / "detector.safetensors")
    settings = {
        "detector": CONFIG.model_dump(),
        "embedding": {"dimensions": 5, "object_counts": object_counts},
        "reward": {"distance": "sliced", "estimator": "kernel"},
    }
    write_json(tmp_path / "config.yaml", resolve_config(settings).model_dump(mode="json"))
    files = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files |= {"detector": "detector.safetensors", "output": "embeddings.safetensors"}
    mgral(
        ["embed", "--seed=0", *(f"--{name}={tmp_path / file}" for name, file in files.items())], standalone_mode=False
    )
    written, expected = load_embeddings(tmp_path / "embeddings.safetensors"), _embed(square_set(), object_counts)
    assert written.arrays().keys() == expected.arrays().keys()
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(written.arrays()[name], array)
