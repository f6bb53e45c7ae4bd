"""Embeddings: principal components, whatever the solver, at a common scale."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from mgral.embedding import project


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
    monkeypatch.setattr("mgral.embedding.LARGE", 0)
    monkeypatch.setattr("mgral.embedding.PART", 7)
    np.testing.assert_allclose(project(features, dimensions), whole, atol=1e-6)
