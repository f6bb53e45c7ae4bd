"""Estimators, the gathering of variants, and lookups."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.artefacts.files import read_arrays, read_csv, write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import Config, EmbeddingConfig, RewardConfig, resolve_config
from mgral.errors import InputError
from mgral.method.lut.composition import Composition
from mgral.method.lut.estimators import estimate, kernel, leave_one_out, median_distances, nearest
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import LookupTable, RewardTable, as_tables, load_tables, read_table
from mgral.method.lut.table import VariantScores, count_scale, load_variants, table_arrays
from mgral.selection.embeddings import ImageFeatures, load_embeddings

MAPS = np.array([0.10, 0.20, 0.30, 0.40])
CLASS_MAPS = np.array([[0.1, 0.1, np.nan], [0.3, 0.1, np.nan], [0.1, 0.5, np.nan], [0.6, 0.2, np.nan]])
"""Of three classes, whose last is in no reward image."""
SCORES = VariantScores(MAPS, CLASS_MAPS)
SLICED = RewardConfig(distance="sliced", estimator="kernel", projections=16)
ALONE = EmbeddingConfig(object_counts=False)
"""Vectors of components alone."""
PLAN = SubsetPlan("labels", "cold", (0,), (), ((), (10, 11), (20, 21), (30, 31)))


def _embeddings():
    ids = np.array([10, 11, 20, 21, 30, 31])
    vectors = np.array([[0, 0], [0, 1], [5, 0], [5, 1], [0, 9], [1, 9]], dtype=np.float32)
    return made_embeddings(ids, vectors, path=Path("embeddings"))


def _with_object_counts():
    """Objects of three classes: subsets of many of the first, of the second, of both."""
    ids = np.array([10, 11, 20, 21, 30, 31])
    counts = np.array([[4, 0, 9], [4, 0, 1], [0, 3, 7], [0, 3, 2], [4, 3, 5], [4, 3, 3]], np.float32)
    return made_embeddings(ids, np.arange(6)[:, None], counts, path=Path("embeddings"))


def _batches(*counts):
    """Features of batches by the objects of their images; the vectors are not of the table's images."""
    of_images = np.array(counts, np.float32)
    return ImageFeatures(np.full((*of_images.shape[:2], 4), 50, np.float32), of_images)


def _as_pool(batches):
    """Return the images of batches one after the other, and the rows of each batch."""
    count, size = batches.counts.shape[:2]
    pool = ImageFeatures(*(values.reshape(count * size, -1) for values in batches))
    return pool, np.arange(count * size).reshape(count, size)


def _table(tmp_path, reward):
    arrays, rows = table_arrays(SCORES, PLAN, _embeddings(), ALONE, reward, seed=0)
    path = tmp_path / "table.safetensors"
    write_arrays(path, arrays)
    return path, rows


def write_variants(path, *variants):
    path.write_text(json.dumps({"variants": [{"ap50": 0.5} | one for one in variants]}))


def _variant_files(folder, values=(0.1, 0.2, 0.3, 0.4)):
    paths = []
    for k, value in enumerate(values):
        paths.append(folder / f"variants{k}-{k}.json")
        write_variants(
            paths[-1],
            {"variant": k, "images": len(PLAN.subsets[k]), "map": value, "class_map": [value, None]},
        )
    return paths


def test_kernel_by_hand():
    # Weights exp(-1/2) and exp(-2) at distances 1 and 2 widths.
    weights = np.exp([-0.5, -2.0])
    found = kernel(np.array([[[3.0], [6.0]]]), np.array([[0.2], [0.6]]), np.array([3.0]))
    assert found[0, 0] == pytest.approx((0.2 * weights[0] + 0.6 * weights[1]) / weights.sum())


def test_kernel_becomes_nearest_as_it_narrows_and_the_mean_as_it_widens():
    distances = np.random.default_rng(0).uniform(1, 2, (20, 5, 2))
    values = np.column_stack([np.arange(5) / 10, np.ones(5)])
    np.testing.assert_allclose(kernel(distances, values, np.full(2, 1e-6)), nearest(distances, values))
    np.testing.assert_allclose(kernel(distances, values, np.full(2, 1e6)), [[0.2, 1.0]] * 20)


def test_each_class_is_looked_up_by_its_own_distances_and_their_mean_is_the_batchs():
    distances = np.array([[[0.0, 9.0], [5.0, 1.0]]])
    values = np.array([[0.2, 0.7], [0.4, 0.1]])
    np.testing.assert_array_equal(nearest(distances, values), [[0.2, 0.1]])
    assert estimate(distances, values, "nearest", np.ones(2))[0] == pytest.approx(0.15)
    widths = np.array([5.0, 2.0])
    alone = [kernel(distances[..., [g]], values[:, [g]], widths[[g]])[0, 0] for g in (0, 1)]
    assert estimate(distances, values, "kernel", widths)[0] == pytest.approx(np.mean(alone))


def test_leave_one_out_by_hand():
    pairwise = np.array([[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]])[..., None]
    values = np.array([[0.1], [0.2], [0.6]])
    np.testing.assert_allclose(leave_one_out(pairwise, values, "nearest", np.ones(1)), [0.2, 0.1, 0.2])
    one, nine, four = np.exp([-0.5, -4.5, -2.0])
    expected = [
        (0.2 * one + 0.6 * nine) / (one + nine),
        (0.1 * one + 0.6 * four) / (one + four),
        (0.1 * nine + 0.2 * four) / (nine + four),
    ]
    np.testing.assert_allclose(leave_one_out(pairwise, values, "kernel", np.ones(1)), expected)


def test_the_width_is_the_median_distance_between_subsets_that_differ():
    places = np.array([0.0, 0.0, 1.0, 3.0])
    apart = np.abs(places[:, None] - places)
    np.testing.assert_array_equal(
        median_distances(np.stack([apart, 0 * apart], axis=-1)), [np.median([1, 3, 1, 3, 2]), 1]
    )


def test_variants_are_gathered_in_any_order(tmp_path):
    paths = _variant_files(tmp_path)
    maps, class_maps = load_variants(paths[::-1], PLAN)
    np.testing.assert_array_equal(maps, MAPS)
    np.testing.assert_array_equal(class_maps, np.column_stack([MAPS, np.full(4, np.nan)]))


def test_a_missing_a_repeated_or_a_foreign_variant_is_an_error(tmp_path):
    paths = _variant_files(tmp_path)
    with pytest.raises(InputError, match=r"variants \[2\] are missing"):
        load_variants([paths[0], paths[1], paths[3]], PLAN)
    with pytest.raises(InputError, match=r"both contain variant 1"):
        load_variants([*paths, paths[1]], PLAN)
    write_variants(paths[3], {"variant": 9, "images": 2, "map": 0.1, "class_map": []})
    with pytest.raises(InputError, match=r"variants3-3\.json: variant 9 is not among 0\.\.3"):
        load_variants(paths, PLAN)
    write_variants(paths[3], {"variant": 3, "images": 7, "map": 0.1, "class_map": []})
    with pytest.raises(InputError, match=r"subset of 7 images"):
        load_variants(paths, PLAN)


@pytest.mark.parametrize("value", [float("nan"), None, "0.3"])
def test_a_map_that_is_no_number_is_an_error_naming_the_file(tmp_path, value):
    with pytest.raises(InputError, match=r"variants2-2\.json: map"):
        load_variants(_variant_files(tmp_path, (0.1, 0.2, value, 0.4)), PLAN)


@pytest.mark.parametrize("distance", ["sliced", "exact"])
def test_a_subset_is_worth_its_own_variant(tmp_path, distance):
    reward = RewardConfig(distance=distance, estimator="nearest", projections=16)
    path, _ = _table(tmp_path, reward)
    table = RewardTable.load(path, reward)
    batches = _embeddings().features_of(PLAN.subsets[1:], ALONE)
    turned = ImageFeatures(*(values[:, ::-1].copy() for values in batches))
    np.testing.assert_array_equal(table.lookup(turned), MAPS[1:])
    assert table.baseline_map == MAPS[0]
    # A batch of another size, beside the second subset.
    assert table.lookup(ImageFeatures(batches.vectors[1:2, :1] + 0.1, batches.counts[1:2, :1]))[0] == MAPS[2]


def test_kernel_look_up_lies_between_the_variants(tmp_path):
    path, _ = _table(tmp_path, SLICED)
    table = RewardTable.load(path, SLICED)
    found = table.lookup(_embeddings().features_of(PLAN.subsets[1:], ALONE))
    assert ((found >= MAPS[1]) & (found <= MAPS[3])).all()
    assert found[2] > found[0]


def test_table_has_the_contracts_shapes_and_is_reproduced(tmp_path):
    path, rows = _table(tmp_path, SLICED)
    arrays = read_arrays(path)
    shapes = {name: (array.dtype.name, array.shape) for name, array in arrays.items()}
    assert shapes == {
        "map": ("float64", (3,)),
        "baseline_map": ("float64", (1,)),
        "values": ("float64", (3, 1)),
        "embeddings": ("float32", (3, 2, 2)),
        "projections": ("float32", (2, 16)),
        "sorted": ("float32", (3, 2, 16)),
        "kernel_widths": ("float64", (1,)),
    }
    assert (np.diff(arrays["sorted"], axis=1) >= 0).all()
    assert [row["variant"] for row in rows] == [1, 2, 3]
    assert [row["measured"] for row in rows] == MAPS[1:].tolist()
    content = path.read_bytes()
    assert _table(tmp_path, SLICED)[0].read_bytes() == content


def test_a_table_that_cannot_serve_is_an_error_naming_the_file(tmp_path):
    path, _ = _table(tmp_path, SLICED)
    with pytest.raises(InputError, match=r"table\.safetensors was made with another reward\.projections"):
        RewardTable.load(path, RewardConfig(distance="sliced", estimator="kernel", projections=3))
    arrays = read_arrays(path)
    write_arrays(path, arrays | {"map": np.array([0.1, np.nan, 0.2])})
    with pytest.raises(InputError, match=r"table\.safetensors: map contains a value that is not finite"):
        RewardTable.load(path, SLICED)
    del arrays["sorted"]
    write_arrays(path, arrays)
    with pytest.raises(InputError, match=r"table\.safetensors contains no array sorted"):
        RewardTable.load(path, SLICED)


def test_by_class_a_batch_is_worth_what_each_class_reached_with_as_much_of_it():
    reward = RewardConfig(distance="by_class", estimator="nearest")
    arrays, rows = table_arrays(SCORES, PLAN, _with_object_counts(), EmbeddingConfig(), reward, seed=0)
    assert arrays["values"].tolist() == [[0.3, 0.1], [0.1, 0.5], [0.6, 0.2]]
    assert arrays["classes"].tolist() == [0, 1]
    assert [row["measured"] for row in rows] == MAPS[1:].tolist()
    table = RewardTable.of(arrays, reward)
    # Neither the vectors nor the class that was not measured count.
    batches = _batches([[0, 3, 80], [0, 3, 80]], [[4, 0, 70], [4, 0, 0]])
    np.testing.assert_allclose(table.lookup(batches), [(0.1 + 0.5) / 2, (0.3 + 0.1) / 2])
    pool, rows_of = _as_pool(batches)
    np.testing.assert_allclose(table.over(pool, "cpu").lookup(rows_of), table.lookup(batches))


def test_a_table_by_class_describes_what_each_variant_has_learnt_from():
    """A base image that a subset holds too is learnt from once."""
    embeddings, plan = _with_object_counts(), replace(PLAN, base=(10, 20), start="warm")
    arrays, rows = table_arrays(SCORES, plan, embeddings, EmbeddingConfig(), RewardConfig(), seed=0)
    assert set(rows[0]) == {"variant", "baseline", "measured", "nearest", "kernel", "regression"}
    np.testing.assert_array_equal(arrays["learnt"], [3, 3, 4])
    composition = Composition.of(embeddings)
    sets = [10, 11, 20], [10, 20, 21], [10, 20, 30, 31]
    expected = [composition.features(composition.totals(one)) for one in sets]
    np.testing.assert_array_equal(arrays["features"], expected)
    np.testing.assert_allclose(arrays["roots"][0], np.sqrt([8, 3, 17]))


def test_the_counts_of_a_file_are_scaled_as_the_vectors_are(tmp_path):
    """Cars, and trees, of which every image has two."""
    cars = {10: 0, 11: 2, 20: 3, 21: 5, 30: 9, 31: 9, 40: 4, 41: 0.5, 42: 1, 43: 6}
    ids = np.array(sorted(cars, reverse=True))
    counts = np.array([[cars[image], 2] for image in ids.tolist()], np.float32)
    path = tmp_path / "embeddings.safetensors"
    write_arrays(path, made_embeddings(ids, np.zeros((10, 1)), counts).arrays())
    embeddings, embedding = load_embeddings(path), EmbeddingConfig()
    arrays, _ = table_arrays(SCORES, PLAN, embeddings, embedding, RewardConfig(), seed=0)
    np.testing.assert_array_equal(arrays["counts"], [[[0, 2], [2, 2]], [[3, 2], [5, 2]], [[9, 2], [9, 2]]])
    scale = count_scale(arrays)
    np.testing.assert_allclose(scale.mean, [3.95, 2])
    # Trees do not distinguish images: they lie at 0 on the scale.
    assert (scale.zero[1], scale.unit[1]) == (0, 0)
    np.testing.assert_array_equal(scale.apply(arrays["counts"])[..., 1], 0)
    np.testing.assert_array_equal(embeddings.features_of(ids, embedding).vectors[:, 2], 0)
    np.testing.assert_allclose((embeddings.features_of(ids, embedding).vectors ** 2).sum(axis=1).mean(), 1, rtol=1e-6)


@pytest.mark.parametrize(("estimator", "kind"), [("regression", LearnedTables), ("kernel", LookupTable)])
def test_tables_read_from_files_reward_as_those_in_memory(tmp_path, estimator, kind):
    reward = RewardConfig(estimator=estimator)
    arrays, _ = table_arrays(SCORES, PLAN, _with_object_counts(), EmbeddingConfig(), reward, seed=0)
    path, config = tmp_path / "table.safetensors", Config().model_copy(update={"reward": reward})
    write_arrays(path, arrays)
    read = load_tables([path, path], _with_object_counts(), config)
    made = as_tables([arrays, arrays], _with_object_counts(), config.embedding, config.reward)
    assert isinstance(read, kind)
    assert isinstance(made, kind)
    np.testing.assert_array_equal(read.reward([[10, 31], [20, 21]]), made.reward([[10, 31], [20, 21]]))


def test_counts_of_too_few_classes_are_an_error_naming_the_file():
    with pytest.raises(
        InputError,
        match=r"embeddings has counts of 1 classes, but variants have an AP of class 1; run the step `embed` again",
    ):
        table_arrays(SCORES, PLAN, _embeddings(), EmbeddingConfig(), RewardConfig(), seed=0)


def test_a_table_by_class_of_other_classes_than_the_pool_is_an_error_naming_the_file(tmp_path):
    arrays, _ = table_arrays(SCORES, PLAN, _with_object_counts(), EmbeddingConfig(), RewardConfig(), seed=0)
    write_arrays(tmp_path / "table.safetensors", arrays)
    ids, config = _with_object_counts().image_ids, Config()
    load_tables([tmp_path / "table.safetensors"], made_embeddings(ids, np.ones((6, 9)), np.ones((6, 3))), config)
    fewer = made_embeddings(ids, np.ones((6, 9)), np.ones((6, 2)))
    with pytest.raises(InputError, match=r"table\.safetensors was made for 3 classes, not 2; run the step"):
        load_tables([tmp_path / "table.safetensors"], fewer, config)


def test_the_step_writes_the_table_and_its_leave_one_out_predictions(tmp_path):
    reward = {"distance": "sliced", "estimator": "kernel", "projections": 8}
    settings = {"reward": reward, "agent": {"policy": "lstm"}, "embedding": {"object_counts": False}}
    write_json(tmp_path / "config.yaml", settings)
    write_json(tmp_path / "subsets.json", PLAN.to_json())
    embeddings = _embeddings()
    write_arrays(tmp_path / "embeddings.safetensors", embeddings.arrays())
    variants = [str(path) for path in _variant_files(tmp_path)]
    options = [f"--config={tmp_path}/config.yaml", f"--subsets={tmp_path}/subsets.json", "--seed=0"]
    options += [f"--embeddings={tmp_path}/embeddings.safetensors", f"--output={tmp_path}/table.safetensors"]
    mgral(["table", *options, f"--leave-one-out={tmp_path}/loo.csv", *variants], standalone_mode=False)
    written = read_arrays(tmp_path / "table.safetensors")
    np.testing.assert_array_equal(written["map"], MAPS[1:])
    np.testing.assert_array_equal(written["embeddings"], embeddings.components.reshape(3, 2, 2))
    rows = read_csv(tmp_path / "loo.csv")
    assert list(rows[0]) == ["variant", "baseline", "measured", "nearest", "kernel"]
    # The second subset is the first's nearest other.
    assert tuple(rows[0].values())[:4] == ("1", "0.1", "0.2", "0.3")


def test_a_table_by_class_does_not_depend_on_the_vectors_that_agents_get():
    assert resolve_config({"embedding": {"object_counts": False}})
    alone, beside = (
        table_arrays(SCORES, PLAN, _with_object_counts(), embedding, RewardConfig(), seed=0)[0]
        for embedding in (ALONE, EmbeddingConfig())
    )
    assert alone.keys() == beside.keys()
    for name, array in alone.items():
        np.testing.assert_array_equal(array, beside[name])


def test_regression_on_whole_embeddings_is_refused_with_the_configuration():
    with pytest.raises(
        InputError, match=r"regression is of classes, and reward\.distance: sliced is not; set the est"
    ):
        resolve_config({"reward": {"distance": "sliced"}})


def test_a_table_of_whole_embeddings_does_not_serve_regression(tmp_path):
    path, _ = _table(tmp_path, SLICED)
    with pytest.raises(InputError, match=r"table\.safetensors contains no array classes; run the step `table` again"):
        read_table(path, RewardConfig())


def test_ap_by_class_that_is_no_number_or_of_other_classes_is_an_error_naming_where(tmp_path):
    paths = _variant_files(tmp_path)
    write_variants(paths[1], {"variant": 1, "images": 2, "map": 0.1, "class_map": ["0.3", None]})
    with pytest.raises(InputError, match=r"variants1-1\.json: class_map is"):
        load_variants(paths, PLAN)
    write_variants(paths[1], {"variant": 1, "images": 2, "map": 0.1, "class_map": 3})
    with pytest.raises(InputError, match=r"variants1-1\.json does not contain variants"):
        load_variants(paths, PLAN)
    write_variants(paths[1], {"variant": 1, "images": 2, "map": 0.1, "class_map": [0.3]})
    with pytest.raises(InputError, match=r"AP of different classes; run the step `variant`"):
        load_variants(paths, PLAN)
