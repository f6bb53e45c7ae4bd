"""The reward split and the subsets: what must never overlap, and what must be spanned."""

import json
from itertools import chain, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_embeddings import made_embeddings

from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import Config, EmbeddingConfig, LutConfig
from mgral.data.dataset import Category, Dataset
from mgral.errors import InputError, SparseError
from mgral.method.lut.plan import SubsetPlan, load_plan
from mgral.method.lut.subsets import draw_subsets, plan_subsets, reward_order, split_reward
from mgral.selection.clusters import cluster

LABELS = st.lists(st.sets(st.integers(0, 5), max_size=4), min_size=2, max_size=30)


def _arrays(labels):
    return [np.array(sorted(found), dtype=np.int64) for found in labels]


def _order(count, seed):
    return np.random.default_rng(seed).permutation(count)


def _embeddings(count=120, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 4)) * 6
    vectors = (centres[rng.integers(0, 6, count)] + rng.normal(size=(count, 4))).astype(np.float32)
    return made_embeddings(np.arange(count) * 3 + 7, vectors)


def _plan(lut=LutConfig(), budget=20, seed=1, cycle=0, split=0, labelled_count=30):  # noqa: B008 - frozen
    embeddings = _embeddings()
    ids = embeddings.image_ids
    labelled, pool = ids[:labelled_count], ids[labelled_count:]
    labels = tuple(np.array([row % 4] if row < labelled_count else [], dtype=np.int64) for row in range(len(ids)))
    boxes = tuple(np.zeros((len(of_image), 4), np.float32) for of_image in labels)
    names, categories = tuple(map(str, ids)), tuple(Category(c, str(c)) for c in range(4))
    dataset = Dataset(ids, names, np.full((len(ids), 2), 8), categories, boxes, labels)
    config = Config().model_copy(update={"lut": lut, "budget": budget})
    return plan_subsets(config, dataset, labelled, embeddings, seed, cycle, split), labelled, pool


@settings(max_examples=200, deadline=None)
@given(LABELS, st.floats(0.05, 0.9), st.integers(0, 99))
def test_the_split_is_a_partition_that_keeps_every_class_in_training(labels, fraction, seed):
    reward, rest = split_reward(_arrays(labels), fraction, _order(len(labels), seed))
    assert sorted([*reward, *rest]) == list(range(len(labels)))
    assert 1 <= len(reward) <= len(labels) - 1
    seen, trained = set().union(*labels), set().union(*(labels[row] for row in rest))
    if len(reward) > 1:
        assert trained == seen
    assert len(reward) <= max(1, round(fraction * len(labels)), len(seen))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=30), st.integers(0, 99))
def test_with_one_class_an_image_every_class_that_can_be_measured_is(labels, seed):
    reward, _ = split_reward(_arrays([{label} for label in labels]), 0.2, _order(len(labels), seed))
    measurable = {label for label in labels if labels.count(label) > 1}
    assert measurable <= {labels[row] for row in reward}


def test_the_fraction_is_met_where_classes_are_plentiful():
    reward, _ = split_reward([np.array([row % 3]) for row in range(60)], 0.2, _order(60, 0))
    assert len(reward) == 12


def test_one_labelled_image_cannot_be_split():
    with pytest.raises(SparseError, match="rewards need 2 labelled images, and there is 1"):
        split_reward([np.array([0])], 0.2, _order(1, 0))


def test_subsets_have_their_size_and_no_image_twice_even_when_clusters_run_out():
    assignment = np.array([0] * 3 + [1] * 3 + [2] * 14)
    for size in (1, 10, 20):
        for rows in draw_subsets(assignment, [size] * 20, [0.01] * 20, np.random.default_rng(0)):
            assert len(np.unique(rows)) == size
            assert rows.max() < 20


def test_subsets_span_the_space_further_than_uniform_draws():
    embeddings = _embeddings()
    vectors = embeddings.components
    rng = np.random.default_rng(0)
    spanning = draw_subsets(cluster(vectors, 6, 0), [20] * 16, [0.3] * 16, rng)
    uniform = [rng.choice(len(vectors), 20, replace=False) for _ in range(16)]

    def spread(subsets):
        return np.stack([vectors[rows].mean(axis=0) for rows in subsets]).std(axis=0).mean()

    assert spread(spanning) > 2 * spread(uniform)


def test_subsets_go_from_one_kind_to_all():
    embeddings = _embeddings()
    plan, _, pool = _plan(LutConfig(variants=12, labels="consistency", concentration=(0.02, 50.0)), budget=10)
    kinds = cluster(embeddings.components_of(pool), 6, 0)
    shares = [
        np.bincount(kinds[np.isin(pool, images)], minlength=6).max() / len(images) for images in plan.subsets[1:]
    ]
    assert np.mean(shares[:3]) > 0.7
    assert np.mean(shares[-3:]) < 0.45


def _shares_of_two_kinds(lut, labelled, embedding):
    """Return the size of each subset and its share of odd images, which have five objects and the others none."""
    ids = np.arange(80)
    counts = np.where(ids % 2, 5, 0)[:, None].astype(np.float32)
    components = np.random.default_rng(0).normal(size=(80, 1)).astype(np.float32) / 100
    embeddings = made_embeddings(ids, components, counts)
    labels, boxes = (np.array([0]),) * 80, (np.zeros((1, 4), np.float32),) * 80
    dataset = Dataset(ids, tuple(map(str, ids)), np.full((80, 2), 8), (Category(0, "a"),), boxes, labels)
    config = Config().model_copy(update={"lut": lut, "budget": 10, "embedding": embedding})
    plan = plan_subsets(config, dataset, ids[:labelled], embeddings, seed=0, cycle=0, split=0)
    return [(len(images), np.mean(np.array(images) % 2)) for images in plan.subsets[1:]]


@pytest.mark.parametrize("object_counts", [True, False])
def test_clusters_are_of_object_counts_too_unless_configured_otherwise(object_counts):
    lut = LutConfig(labels="consistency", variants=8, clusters=2, concentration=(0.001, 0.001))
    found = _shares_of_two_kinds(lut, 20, EmbeddingConfig(object_counts=object_counts))
    assert ({share for _, share in found} <= {0, 1}) == object_counts


def test_small_subsets_are_of_one_kind_and_of_many_and_so_are_larger_ones():
    """Else how many images a variant learns from would not be distinguished from how alike they are."""
    lut = LutConfig(labels="labels", variants=24, clusters=2, concentration=(0.001, 1000.0))
    found = np.array(_shares_of_two_kinds(lut, 80 - 10, EmbeddingConfig()))
    for some in (found[:5], found[5:10]):
        pure = np.abs(some[:, 1] - 0.5) > 0.45
        assert pure.any()
        assert not pure.all()


def test_more_clusters_than_distinct_images_is_no_error():
    assert sorted(set(cluster(np.ones((5, 2), dtype=np.float32), 8, 0))) == [0]


def test_semi_supervised_subsets_come_from_the_pool():
    plan, labelled, pool = _plan(LutConfig(labels="consistency", variants=8))
    assert sorted(plan.reward + plan.base) == sorted(labelled.tolist())
    assert plan.subsets[0] == ()
    assert len(plan.subsets) == 9
    for images in plan.subsets[1:]:
        assert len(set(images)) == 20
        assert set(images) <= set(pool.tolist())


def test_variants_that_start_anew_learn_from_subsets_of_many_sizes_of_all_labels_that_measure_no_reward():
    lut = LutConfig(labels="labels", start="cold", variants=12)
    plan, labelled, _ = _plan(lut)
    assert plan == _plan(LutConfig(variants=12))[0]  # as is the default
    left = set(labelled.tolist()) - set(plan.reward)
    assert plan.base == plan.subsets[0] == ()
    sizes = [len(images) for images in plan.subsets[1:]]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (round(0.3 * len(left)), len(left))
    for images in plan.subsets[1:]:
        assert set(images) <= left
        assert len(set(images)) == len(images)


def test_the_images_of_smaller_subsets_stand_evenly_in_rows_of_one_length():
    plan = SubsetPlan("labels", "cold", (9,), (), ((), (1, 2), (3, 4, 5), (1, 2, 3, 4)))
    assert plan.images.tolist() == [[1, 1, 2, 2], [3, 3, 4, 5], [1, 2, 3, 4]]


def test_labelled_subsets_of_variants_that_share_a_base_come_from_the_other_labels():
    plan, labelled, _ = _plan(LutConfig(labels="labels", start="warm"))
    candidates = set(labelled.tolist()) - set(plan.reward) - set(plan.base)
    assert len(plan.base) == round(0.4 * (30 - len(plan.reward)))
    for images in plan.subsets[1:]:
        assert set(images) <= candidates
        assert len(images) == len(candidates) // 2


def test_under_a_teacher_rewards_and_subsets_are_of_the_pool_and_half_of_the_labels_are_known():
    plan, labelled, pool = _plan(LutConfig(labels="pseudo_labels", reward_images=12))
    assert len(plan.reward) == 12
    assert set(plan.reward) <= set(pool.tolist())
    assert len(plan.base) == 15
    assert set(plan.base) <= set(labelled.tolist())
    for images in plan.subsets[1:]:
        assert set(images) <= set(pool.tolist()) - set(plan.reward)
        assert len(images) == 20
    many, _, _ = _plan(LutConfig(labels="pseudo_labels", reward_images=1000))
    assert len(many.reward) == 30  # a third of 90


def test_splits_under_a_teacher_begin_with_other_labels_and_measure_on_other_images():
    lut = LutConfig(labels="pseudo_labels", reward_images=20)
    first, second = (_plan(lut, split=split)[0] for split in (0, 1))
    assert not set(first.reward) & set(second.reward)
    assert not set(first.base) & set(second.base)


@pytest.mark.parametrize(
    ("labels", "start"), [("consistency", "warm"), ("labels", "warm"), ("labels", "cold"), ("pseudo_labels", "cold")]
)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), labelled_count=st.integers(4, 60))
def test_no_reward_image_is_trained_on(labels, start, seed, labelled_count):
    lut = LutConfig(labels=labels, start=start, variants=3)
    plan, _, _ = _plan(lut, seed=seed, labelled_count=labelled_count)
    assert not set(plan.reward) & set(plan.base).union(*plan.subsets)


def test_the_plan_depends_on_seed_cycle_and_split_and_on_nothing_else():
    assert _plan()[0] == _plan()[0]
    places = list(product((1, 2), (0, 1), (0, 1)))
    assert len({_plan(seed=s, cycle=c, split=p)[0].subsets for s, c, p in places}) == 8


def test_splits_measure_on_every_labelled_image_before_they_do_so_twice():
    orders = [reward_order(30, 0.2, split, np.random.default_rng(0)) for split in range(6)]
    rewards = [split_reward([np.array([0])] * 30, 0.2, order)[0].tolist() for order in orders]
    assert sorted(chain(*rewards[:5])) == list(range(30))
    assert rewards[5] == rewards[0]


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 40), st.floats(0.05, 0.9), st.integers(0, 9))
def test_the_order_of_a_split_begins_where_that_of_the_split_before_runs_out(count, fraction, split):
    one, other = (reward_order(count, fraction, s, np.random.default_rng(0)) for s in (split, split + 1))
    assert sorted(one) == list(range(count))
    used = round(fraction * count)
    np.testing.assert_array_equal(np.concatenate([one[used:], one[:used]]), other)


def test_subsets_larger_than_the_pool_are_not_drawn():
    with pytest.raises(SparseError, match="subsets of 200 images need as many in the pool, and there are"):
        _plan(LutConfig(labels="consistency"), budget=200)
    with pytest.raises(SparseError, match="subsets of 200 images need as many in the pool"):
        _plan(LutConfig(labels="consistency", subset_size=200))


def test_the_reason_why_there_is_no_plan_is_read_again(tmp_path):
    path = tmp_path / "subsets.json"
    path.write_text('{"reason": "there is no pool"}')
    with pytest.raises(SparseError, match="there is no pool"):
        load_plan(path)


def test_a_plan_is_read_as_it_was_written(tmp_path):
    plan = SubsetPlan("consistency", "warm", (1,), (2, 3), ((), (4, 5), (5, 6)))
    path = tmp_path / "subsets.json"
    path.write_text(json.dumps(plan.to_json()))
    assert load_plan(path) == plan
    broken = plan.to_json()
    broken["subsets"][2]["images"].clear()
    path.write_text(json.dumps(broken))
    with pytest.raises(InputError, match=r"subsets\.json"):
        load_plan(path)


def test_the_step_writes_the_same_plan_again(tmp_path):
    embeddings = _embeddings(40)
    ids = embeddings.image_ids
    images = [{"id": int(i), "file_name": f"{i}.png", "width": 8, "height": 8} for i in ids]
    boxes = [
        {"id": n, "image_id": int(i), "category_id": 3 + n % 2, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
        for n, i in enumerate(ids)
    ]
    categories = [{"id": 3, "name": "a"}, {"id": 4, "name": "b"}]
    write_json(tmp_path / "train.json", {"images": images, "annotations": boxes, "categories": categories})
    write_json(tmp_path / "labelled.json", {"images": ids[:10].tolist()})
    write_json(tmp_path / "config.yaml", {"budget": 7, "lut": {"variants": 4, "labels": "consistency"}})
    write_arrays(tmp_path / "embeddings.safetensors", embeddings.arrays())
    options = [
        f"--config={tmp_path}/config.yaml",
        f"--dataset={tmp_path}/train.json",
        "--seed=0",
        "--cycle=0",
        "--split=0",
    ]
    options += [f"--labelled={tmp_path}/labelled.json", f"--embeddings={tmp_path}/embeddings.safetensors"]
    for name in ("first", "second"):
        mgral(["subsets", *options, f"--output={tmp_path}/{name}.json"], standalone_mode=False)
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    plan = load_plan(tmp_path / "first.json")
    assert sorted(plan.reward + plan.base) == sorted(ids[:10].tolist())
    # Classes alternate with the rows: each is measured.
    assert {int(i - 7) // 3 % 2 for i in plan.reward} == {0, 1}
    assert [len(images) for images in plan.subsets] == [0, 7, 7, 7, 7]
