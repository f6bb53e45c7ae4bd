"""The batches to try: half drawn at random, half chosen by strategies."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from made_embeddings import made_embeddings
from squares import square_set

from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import Config
from mgral.config.experiment import config_yaml
from mgral.data.groups import Groups
from mgral.errors import InputError
from mgral.method.fidelity import batches as batches_module
from mgral.method.fidelity.batches import STRATEGIES, Candidate, draw_candidates, load_candidates
from mgral.method.lut.learned import LearnedTables
from mgral.models.build import build_detector, save_detector
from mgral.selection.query import Query
from mgral.selection.selecting import choose

KINDS, IMAGES, BUDGET, BATCHES = 4, 36, 3, 20
CONFIG = Config(
    budget=BUDGET,
    detector={"width": 64, "height": 64, "channels": 4},
    lut={"clusters": KINDS},
    fidelity={"batches": BATCHES},
    strategies=("random",),
)


def known(**changes):
    """Return what strategies know of squares, of four kinds that the embeddings keep apart, six of them labelled."""
    data = square_set(IMAGES)
    dataset = data.dataset
    ids = dataset.image_ids
    rng = np.random.default_rng(0)
    places = 100 * np.eye(KINDS, dtype=np.float32)[ids % KINDS] + rng.normal(size=(len(ids), KINDS))
    counts = rng.gamma(1.0, size=(len(ids), len(dataset.categories)))
    embeddings = made_embeddings(ids, places, counts, counted=ids[:6])
    query = Query(
        dataset=dataset.without_labels(ids[6:]),
        labelled=ids[:6],
        pool=ids[6:],
        config=CONFIG,
        seed=0,
        cycle=1,
        images=data.images,
        detector=build_detector(CONFIG.detector, len(dataset.categories), 0).eval(),
        embeddings=embeddings,
        tables=LearnedTables.of([], embeddings),
        groups=((7, 8, 9),),
    )
    return replace(query, **changes)


def sources(candidates):
    return [one.source for one in candidates]


@pytest.fixture(scope="module")
def drawn():
    return draw_candidates(known())


def test_one_half_is_drawn_at_random_and_the_other_chosen_in_the_order_of_the_list(drawn):
    assert drawn[0] == Candidate(0, None, ())
    assert [one.batch for one in drawn] == list(range(BATCHES + 1))
    assert sources(drawn[1:]) == ["random"] * 5 + ["mixture"] * 5 + [*STRATEGIES, STRATEGIES[0]]
    assert [one.drawn for one in drawn[1:]] == [True] * 10 + [False] * 10


def test_batches_are_of_the_pool_and_as_large_as_a_strategy_s(drawn):
    pool = set(known().pool.tolist())
    for one in drawn[1:]:
        assert len(set(one.images)) == BUDGET
        assert set(one.images) <= pool
        assert list(one.images) == sorted(one.images)


def test_mixtures_go_from_one_kind_to_all(drawn):
    kinds = [len({image % KINDS for image in one.images}) for one in drawn if one.source == "mixture"]
    assert kinds[0] <= 2 <= kinds[-1]


def test_each_batch_is_what_its_strategy_chooses_of_two_thirds_of_the_pool(monkeypatch):
    seen = []

    def note(name, query):
        seen.append((name, tuple(query.pool.tolist())))
        return choose(name, query)

    monkeypatch.setattr(batches_module, "choose", note)
    query = known()
    found = [one for one in draw_candidates(query)[1:] if not one.drawn]
    assert [name for name, _ in seen] == sources(found)
    pools = [pool for _, pool in seen]
    assert {len(pool) for pool in pools} == {round(2 / 3 * len(query.pool))}
    assert len(set(pools)) == len(pools)
    assert all(set(one.images) <= set(pool) for one, pool in zip(found, pools, strict=True))
    # Of all its batches one strategy has different ones, as it sees other images.
    of_first = [one.images for one in found if one.source == STRATEGIES[0]]
    assert len(of_first) == len(set(of_first)) == 2
    counts = query.embeddings.counts_of(np.array(pools[5])).sum(axis=1)
    assert seen[5][0] == "most_objects"
    assert set(found[5].images) == set(np.array(pools[5])[np.argsort(-counts)[:BUDGET]].tolist())


def step(folder, doubled):
    """Run the step on files in which these images have their boxes twice, and return what it writes."""
    query, data = known(), square_set(IMAGES)
    coco = data.truth()
    more = [box | {"id": 1000 + box["id"]} for box in coco["annotations"] if box["image_id"] in doubled]
    write_json(folder / "train.json", {**coco, "annotations": [*coco["annotations"], *more]})
    np.save(folder / "train.npy", data.images.stored)
    write_json(folder / "labelled.json", {"images": query.labelled.tolist()})
    (folder / "config.yaml").write_bytes(config_yaml(CONFIG))
    write_arrays(folder / "embeddings.safetensors", query.embeddings.arrays())
    save_detector(query.detector, folder / "detector.safetensors")
    write_json(folder / "groups.json", Groups(query.groups, (), 0, 0).as_json())
    files = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files |= {"detector": "detector.safetensors", "embeddings": "embeddings.safetensors", "output": "candidates.json"}
    files["groups"] = "groups.json"
    options = [text for name, file in files.items() for text in (f"--{name}", str(folder / file))]
    mgral(["candidates", *options, "--seed", "0", "--cycle", "1"], standalone_mode=False)
    return load_candidates(folder / "candidates.json")


def test_no_label_of_the_pool_is_read(tmp_path, monkeypatch):
    boxes = []

    def note(name, query):
        boxes.append(query.dataset.object_counts(query.dataset.image_ids).sum(axis=1).tolist())
        return choose(name, query)

    query = known(tables=None)
    found = step(tmp_path, ())
    assert found == draw_candidates(query)
    monkeypatch.setattr(batches_module, "choose", note)
    assert step(tmp_path, query.dataset.image_ids) == found
    assert boxes == [[2] * len(query.labelled) + [0] * len(query.pool)] * (BATCHES // 2)


def test_a_seed_and_a_cycle_draw_others(drawn):
    assert draw_candidates(known()) == drawn
    for change in ({"seed": 1}, {"cycle": 2}):
        others = draw_candidates(known(**change))
        same = [one.images == other.images for one, other in zip(drawn[1:], others[1:], strict=True)]
        assert sum(same) < len(same) / 2


def test_what_a_detector_or_the_tables_are_not_enough_for_is_left_out(drawn):
    class OfBoxesAlone:
        def lacks(self, requires, views):
            return "scores" if "detections" in requires else None

    without = draw_candidates(known(config=CONFIG.model_copy(update={"detector": OfBoxesAlone()}), tables=None))
    served = ["sqrt_counts", "sqrt_counts_per_box", "most_objects", "core_set", "k_means"]
    assert sources(without[11:]) == served * 2
    assert without[:11] == drawn[:11]


def test_a_strategy_that_could_not_choose_says_why(tmp_path):
    query = known()
    alike = made_embeddings(query.embeddings.image_ids, np.ones((len(query.embeddings.image_ids), 2)))
    found = draw_candidates(replace(query, embeddings=alike, tables=None))
    reasons = Counter(one.source for one in found if one.reason)
    assert {"most_objects", "core_set", "k_means"} <= set(reasons)
    assert not {"random", "mixture"} & set(reasons)
    write_json(tmp_path / "candidates.json", {"batches": [one.to_json() for one in found]})
    assert load_candidates(tmp_path / "candidates.json") == found


def test_a_file_of_something_else_is_refused(tmp_path, drawn):
    content = {"batches": [one.to_json() for one in drawn]}
    write_json(tmp_path / "other.json", {"batches": content["batches"][1:]})
    with pytest.raises(InputError, match="does not contain an empty batch 0"):
        load_candidates(tmp_path / "other.json")
    (tmp_path / "none.json").write_text(json.dumps({"images": []}))
    with pytest.raises(InputError, match="run the step `candidates` again"):
        load_candidates(tmp_path / "none.json")
