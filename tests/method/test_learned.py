"""The reward that is learned from tables: what a batch adds to the labelled images, and what it may read."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings

from mgral.config import resolve_config
from mgral.data.dataset import Category, Dataset
from mgral.method import strategy
from mgral.method.agent.network import build_agent
from mgral.method.lut.composition import FEATURES, Composition
from mgral.method.lut.learned import LearnedTables, as_sample, training_features
from mgral.method.lut.regression import LEAST, Predicted, Regression
from mgral.selection.object_counts import count_again
from mgral.selection.query import Query

F = len(FEATURES)
LABELLED, POOL = np.arange(30), np.arange(30, 60)


@pytest.fixture(autouse=True)
def _fewer_permutations(monkeypatch):
    monkeypatch.setattr("mgral.method.lut.regression.REGRESSION_PERMUTATIONS", 39)


def embeddings_of(seed=0):
    """Sixty images at five places, with objects of two classes; the first half is labelled."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 5, 60)
    counts = rng.poisson(1.5, (60, 2))
    return made_embeddings(np.arange(60), np.eye(5)[places], counts, counted=LABELLED)


def table_of(embeddings, weights, seed, noise=0.002, of_size=0.1):
    """Variants of 8 to 24 labelled images, whose AP is a line in the logarithm of their number and the features."""
    rng, composition = np.random.default_rng(seed), Composition.of(embeddings)
    sets = [rng.choice(LABELLED, size, replace=False) for size in np.linspace(8, 24, 14).astype(int)]
    # As rows of one length, in which those of smaller sets stand again.
    table = {"base": np.array([], np.int64), "images": np.array([np.resize(one, 24) for one in sets])}
    table |= training_features(table, composition)
    values = 0.2 + of_size * np.log(table["learnt"])[:, None] + (table["features"] * weights).sum(axis=2)
    return table | {"classes": np.arange(2), "values": values + rng.normal(0, noise, values.shape)}


def tables_of(weights, embeddings=None):
    embeddings = embeddings or embeddings_of()
    return LearnedTables.of([table_of(embeddings, weights, seed) for seed in range(2)], embeddings)


PRESENCE = [0.1, 0, 0]


def test_a_table_describes_each_set_once_however_often_an_image_stands_in_its_row():
    embeddings = embeddings_of()
    composition = Composition.of(embeddings)
    table = {"base": np.array([1, 2]), "images": np.array([[3, 3, 4], [2, 5, 6]]), "classes": np.array([1])}
    table |= training_features(table, composition) | {"values": np.array([[0.3], [0.4]])}
    sample = as_sample(table)
    np.testing.assert_array_equal(sample.images, [4, 4])
    np.testing.assert_array_equal(sample.features[0], composition.features(composition.totals([1, 2, 3, 4])))
    np.testing.assert_array_equal(sample.features[1], composition.features(composition.totals([1, 2, 5, 6])))
    np.testing.assert_array_equal(sample.values, [[np.nan, 0.3], [np.nan, 0.4]])


def test_a_batch_looked_up_is_the_batch_tried_image_by_image(monkeypatch):
    reward = tables_of(PRESENCE).over(POOL)
    rows, tried = np.array([3, 8, 20]), np.array([0, 5, 29])
    batches = np.column_stack([np.tile(rows, (3, 1)), tried])
    found = reward.lookup(batches)
    np.testing.assert_allclose(found, reward.with_each(rows, tried))
    monkeypatch.setattr("mgral.method.lut.learned.LOOKED_UP_AMOUNTS", 1)
    # With AVX512, BLAS rounds the last bit otherwise for one batch than for three.
    np.testing.assert_allclose(reward.lookup(batches), found, rtol=1e-14)


def test_batches_of_ids_are_worth_what_their_rows_are():
    tables = tables_of(PRESENCE)
    batches = np.array([[40, 31, 55], [30, 40, 59]])
    np.testing.assert_allclose(tables.reward(batches), tables.over(POOL).lookup(batches - 30))
    np.testing.assert_allclose(tables.reward(batches[0]), tables.reward(batches)[:1])


def test_an_empty_batch_is_worth_what_the_labelled_images_are():
    reward = tables_of(PRESENCE).over(POOL)
    assert reward.worth(np.zeros(reward.pool.shape[1])) == pytest.approx(reward.baseline_map)


def test_the_map_of_the_labelled_images_lies_where_the_line_of_the_variants_leads():
    """The tables' variants have learnt from 24 of the 30 images at most, and the second measures 0.1 less."""
    embeddings = embeddings_of()
    composition = Composition.of(embeddings)
    tables = [table_of(embeddings, PRESENCE, seed, noise=0) for seed in range(2)]
    tables[1]["values"] = tables[1]["values"] - 0.1
    expected = 0.15 + 0.1 * np.log(30) + composition.features(composition.totals(LABELLED))[:, 0].mean() * PRESENCE[0]
    assert LearnedTables.of(tables, embeddings).baseline_map == pytest.approx(expected, abs=0.01)


def test_where_nothing_is_learned_the_map_of_the_labelled_images_is_on_a_line_in_their_logarithm(monkeypatch):
    prior = Regression(np.eye(F)[[0, 0]], Predicted(np.zeros(0), np.zeros(0)), 0.5)
    monkeypatch.setattr("mgral.method.lut.learned.learn", lambda *given: prior)
    embeddings = embeddings_of()
    tables = LearnedTables.of([table_of(embeddings, np.zeros(F), 0, noise=0)], embeddings)
    assert tables.baseline_map == pytest.approx(0.2 + 0.1 * np.log(30))
    assert (tables.reward(POOL.reshape(5, 6)) > tables.baseline_map).all()


def test_what_rises_with_presence_is_learned_and_ranks_batches():
    tables = tables_of(PRESENCE)
    assert tables.regression.valid
    shown = np.argsort((tables.embeddings.counts[POOL] > 0).sum(axis=1))
    fewest, most = tables.over(POOL).lookup(np.stack([shown[:5], shown[-5:]]))
    assert most > fewest + 0.005


def test_a_near_copy_of_what_the_batch_holds_is_worth_less_than_another_image():
    """Three images of the same predictions, the last of another kind than the others."""
    embeddings = embeddings_of()
    kinds = np.eye(5)[np.r_[np.arange(57) % 4, 0, 0, 4]]
    counts = np.vstack([embeddings.counts[:57], [[1, 1]] * 3])
    embeddings = made_embeddings(np.arange(60), kinds, counts, counted=LABELLED)
    tables = tables_of([0.02, 0, 0.3], embeddings)
    assert tables.regression.valid
    copy, other = tables.over(POOL).with_each(np.array([27]), np.array([28, 29]))
    assert other > copy


def test_without_a_table_more_images_of_a_class_are_worth_more():
    embeddings = embeddings_of()
    tables = LearnedTables.of([], embeddings, "2 labelled images are too few")
    assert tables.note is not None
    assert tables.note.startswith("no lookup table could be made (2 labelled images are too few), so only the number")
    assert tables.baseline_map == 0
    shown = np.minimum(embeddings.counts, 1)
    batches = POOL.reshape(10, 3)
    totals = shown[LABELLED].sum(axis=0) + shown[batches].sum(axis=1)
    expected = np.log1p(totals).mean(axis=1) - np.log1p(shown[LABELLED].sum(axis=0)).mean()
    np.testing.assert_allclose(tables.reward(batches), LEAST * expected, rtol=1e-6)


def test_an_agent_that_learnt_from_a_prior_says_so():
    """The paper's agent on tables that could not be made."""
    embeddings, config = embeddings_of(), resolve_config({"budget": 4})
    tables = LearnedTables.of([], embeddings, "2 labelled images are too few")
    vectors = embeddings.features_of(POOL, config.embedding).vectors
    agent = build_agent(vectors, 4, 8, torch.Generator().manual_seed(0))
    dataset = Dataset.__new__(Dataset)  # which it does not read
    query = Query(dataset, LABELLED, POOL, config, seed=0, cycle=0, embeddings=embeddings, tables=tables, agent=agent)
    assert strategy.choose(query).note == tables.note


def test_labels_of_the_pool_are_not_read_and_those_of_labelled_images_are():
    embeddings = embeddings_of()
    rng = np.random.default_rng(1)
    labels = [np.repeat([0, 1], rng.poisson(1.5, 2)) for _ in range(60)]

    def reward_with(labels):
        boxes = tuple(np.zeros((len(one), 4), np.float32) for one in labels)
        classes, ids = (Category(1, "a"), Category(2, "b")), embeddings.image_ids
        dataset = Dataset(ids, tuple(map(str, ids)), np.full((60, 2), 8), classes, boxes, tuple(labels))
        counted = count_again(replace(embeddings, counted=LABELLED[:0]), dataset, LABELLED, seed=0)
        return tables_of(PRESENCE, counted).reward(POOL.reshape(5, 6))

    found = reward_with(labels)
    np.testing.assert_array_equal(reward_with([*labels[:30], *[np.array([0])] * 30]), found)
    assert not np.allclose(reward_with([*[np.array([0])] * 10, *labels[10:]]), found)
