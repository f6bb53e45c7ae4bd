"""Embeddings: principal components, whatever the solver, at a common scale."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from squares import write_experiment
from squares_query import CONFIG, squares_query

from mgral.artefacts.files import read_json, write_json
from mgral.cli.main import mgral
from mgral.config import resolve_config
from mgral.models.interface import Detections
from mgral.selection.features import project, standardise, sum_by_class
from mgral.selection.pool import load_embeddings


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


def _embed(folder: Path, object_counts: bool) -> Path:
    """Run the step on 12 squares, of which the first five are labelled, two of them with two objects."""
    write_experiment(folder)
    query = squares_query(folder)
    write_json(folder / "labelled.json", {"images": query.labelled.tolist()})
    truth = read_json(folder / "train.json")
    truth["annotations"] += [box | {"id": 100 + n} for n, box in enumerate(truth["annotations"]) if n in {1, 3}]
    write_json(folder / "train.json", truth)
    settings = {
        "detector": CONFIG.model_dump(),
        "embedding": {"dimensions": 5, "object_counts": object_counts},
        "reward": {"distance": "sliced", "estimator": "kernel"},
    }
    write_json(folder / "config.yaml", resolve_config(settings).model_dump(mode="json"))
    return _embed_again(folder)


def _embed_again(folder: Path) -> Path:
    files = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files |= {"detector": "detector.safetensors", "output": "embeddings.safetensors"}
    options = [f"--{name}={folder / file}" for name, file in files.items()]
    mgral(["embed", "--seed=0", *options], standalone_mode=False)
    return folder / "embeddings.safetensors"


@pytest.mark.parametrize("object_counts", [True, False])
def test_the_step_writes_components_and_object_counts_beside_them(object_counts: bool, tmp_path: Path) -> None:
    embeddings = load_embeddings(_embed(tmp_path, object_counts))
    assert embeddings.vectors.shape == (12, 5 + object_counts)
    assert embeddings.components == 5
    assert embeddings.components_of([21, 10]).shape == (2, 5)
    np.testing.assert_array_equal(embeddings.components_of([21, 10]), embeddings.of([21, 10])[:, :5])
    if object_counts:
        expected = (embeddings.vectors[:, -1] - embeddings.no_object) * embeddings.unit
        assert expected.min() > 0.5
        assert expected.max() < 2.5
        assert expected.std() > 0


def test_labels_of_the_pool_are_not_looked_at_and_those_of_labelled_images_are(tmp_path: Path) -> None:
    before = _embed(tmp_path, object_counts=True).read_bytes()
    truth = read_json(tmp_path / "train.json")
    boxes = truth["annotations"]
    write_json(tmp_path / "train.json", truth | {"annotations": [box for box in boxes if box["image_id"] < 15]})
    assert _embed_again(tmp_path).read_bytes() == before
    write_json(tmp_path / "train.json", truth | {"annotations": [box for box in boxes if box["image_id"] != 12]})
    assert _embed_again(tmp_path).read_bytes() != before
