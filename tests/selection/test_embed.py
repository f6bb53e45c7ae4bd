"""Embeddings: principal components, at a common scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings
from sklearn.decomposition import PCA
from squares import square_set, write_experiment
from squares_query import CONFIG, squares_query

from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import Config, EmbeddingConfig, resolve_config
from mgral.data.image_set import ImageSet
from mgral.errors import InputError
from mgral.models.build import save_detector
from mgral.models.suppression import Found
from mgral.selection.embeddings import Embeddings, Scale, load_embeddings, standardise
from mgral.selection.features import embed_images, project, sum_by_class


@pytest.fixture
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 6)) @ rng.normal(size=(6, 12)) + 3
    values[:, 4] = 1.0  # a dead feature
    return values.astype(np.float32)


def test_embeddings_span_the_principal_components(features: np.ndarray) -> None:
    standardised = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    standardised /= np.where(standardised.std(0) > 1e-9, standardised.std(0), 1)
    expected = PCA(3, svd_solver="full").fit_transform(standardised)
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


def test_large_pools_are_standardised_in_parts(features: np.ndarray, monkeypatch) -> None:
    features[:, 4] = 0.1
    whole = project(features, 4)
    monkeypatch.setattr("mgral.selection.features.PART", 7)
    np.testing.assert_allclose(project(features, 4), whole, atol=1e-5)


def test_class_scores_add_up_by_class() -> None:
    scores, labels = torch.tensor([0.75, 0.5, 0.25, 0.125]), torch.tensor([2, 0, 2, 2])
    found = Found(torch.zeros(4, 4), scores, labels, torch.ones(4, 5), torch.arange(4))
    assert sum_by_class(found, 4).tolist() == [0.5, 0.0, 1.125, 0.0]


def test_each_class_weighs_the_same_unless_it_is_never_seen() -> None:
    rng = np.random.default_rng(0)
    scores = (rng.random((30, 3)) * [1, 100, 0] + [0, 5, 2]).astype(np.float32)
    found, scale = standardise(scores), Scale.of(scores)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(0), [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
    assert np.square(found).sum(1).mean() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose((found - scale.zero) * scale.unit, scores * [1, 1, 0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(scale.apply(np.zeros((1, 3), np.float32))[0, :2], scale.zero[:2], rtol=1e-6)
    assert (standardise(np.ones((4, 2), np.float32)) == 0).all()


def test_the_scale_by_hand() -> None:
    # Of means 2 and 4 and deviations 1 and 3; with two columns that differ, the units are sqrt(2) deviations.
    scale = Scale.of(np.array([[1, 1, 5], [3, 7, 5]], np.float32))
    np.testing.assert_array_equal(scale.mean, [2, 4, 5])
    np.testing.assert_allclose(scale.unit, np.sqrt(2) * np.array([1, 3, 0]))
    np.testing.assert_allclose(scale.zero, [-2 / np.sqrt(2), -4 / (3 * np.sqrt(2)), 0])
    np.testing.assert_allclose(scale.apply(np.array([4, 4, 5], np.float32)), [np.sqrt(2), 0, 0], rtol=1e-6)


LABELLED = np.arange(10, 15)


def _embed(data: ImageSet) -> Embeddings:
    """Embed 12 squares, of which the first five are labelled."""
    config = Config(detector=CONFIG, embedding=EmbeddingConfig(dimensions=5))
    detector = squares_query().detector
    return embed_images(config, data, LABELLED, detector, seed=0)


def _with_boxes(data: ImageSet, counts: dict[int, int]) -> ImageSet:
    """Repeat the box of some images, by row, or leave it out."""
    boxes, labels = list(data.dataset.boxes), list(data.dataset.labels)
    for row, count in counts.items():
        boxes[row], labels[row] = np.repeat(boxes[row], count, axis=0), np.repeat(labels[row], count)
    return replace(data, dataset=replace(data.dataset, boxes=tuple(boxes), labels=tuple(labels)))


def test_object_counts_stand_beside_the_components() -> None:
    embeddings = _embed(_with_boxes(square_set(), {1: 2, 3: 2}))
    assert embeddings.components.shape == (12, 5)
    assert embeddings.counts.shape == (12, 1)
    assert embeddings.counts.min() > 0.5
    assert embeddings.counts.max() < 2.5
    assert embeddings.counts.std() > 0
    ids, rows = [21, 10], [11, 0]
    np.testing.assert_array_equal(embeddings.components_of(ids), embeddings.components[rows])
    alone, beside = (embeddings.features_of(ids, EmbeddingConfig(object_counts=counts)) for counts in (False, True))
    np.testing.assert_array_equal(alone.vectors, embeddings.components[rows])
    np.testing.assert_array_equal(beside.vectors[:, :5], alone.vectors)
    np.testing.assert_array_equal(beside.vectors[:, 5:], standardise(embeddings.counts)[rows])
    for features in (alone, beside):
        np.testing.assert_array_equal(features.counts, embeddings.counts[rows])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"object_counts": None}, r"contains no array 'object_counts'; run the step `embed` again"),
        ({"object_counts": np.ones((3, 1), np.float32)}, "does not contain one embedding for each image"),
        ({"object_counts": np.array([[1], [np.nan]], np.float32)}, "contains an embedding that is not finite"),
        ({"class_presence": None}, r"contains no array 'class_presence'; run the step `embed` again"),
        ({"components": np.array([[np.inf], [1]], np.float32)}, "contains an embedding that is not finite"),
        ({"components": np.ones(2, np.float32)}, "does not contain one embedding for each image"),
    ],
)
def test_a_damaged_file_is_an_error_naming_it(changes: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    one = np.ones((2, 1), np.float32)
    arrays = made_embeddings([0, 1], one, one).arrays() | changes
    path = tmp_path / "embeddings.safetensors"
    write_arrays(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=rf"embeddings\.safetensors {message}"):
        load_embeddings(path)


def test_an_image_without_an_embedding_is_an_error_naming_it(tmp_path: Path) -> None:
    one = np.ones((2, 1), np.float32)
    path = tmp_path / "embeddings.safetensors"
    write_arrays(path, made_embeddings([0, 1], one, one).arrays())
    with pytest.raises(InputError, match=r"embeddings\.safetensors has no embedding of images \[7\]"):
        load_embeddings(path).features_of([[0, 1], [1, 7]], EmbeddingConfig())


def test_labels_of_the_pool_do_not_matter_and_those_of_labelled_images_do() -> None:
    data = _with_boxes(square_set(), {1: 2, 3: 2})
    before = _embed(data).counts
    pool = _with_boxes(data, {row: row % 3 for row in range(5, 12)})
    assert _embed(pool).counts.tobytes() == before.tobytes()
    labelled = _with_boxes(data, {2: 0})
    assert _embed(labelled).counts.tobytes() != before.tobytes()


def test_the_step_writes_what_is_read_again(tmp_path: Path) -> None:
    write_experiment(tmp_path)
    write_json(tmp_path / "labelled.json", {"images": LABELLED.tolist()})
    save_detector(squares_query().detector, tmp_path / "detector.safetensors")
    settings = {"detector": CONFIG.model_dump(), "embedding": {"dimensions": 5}}
    write_json(tmp_path / "config.yaml", resolve_config(settings).model_dump(mode="json"))
    files = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files |= {"detector": "detector.safetensors", "output": "embeddings.safetensors"}
    mgral(
        ["embed", "--seed=0", *(f"--{name}={tmp_path / file}" for name, file in files.items())], standalone_mode=False
    )
    written, expected = load_embeddings(tmp_path / "embeddings.safetensors"), _embed(square_set())
    assert written.arrays().keys() == expected.arrays().keys()
    for name, array in expected.arrays().items():
        np.testing.assert_array_equal(written.arrays()[name], array)
