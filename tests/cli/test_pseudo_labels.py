"""The step `pseudo_labels`: what the cycle's detector takes for objects, as labels of the pool."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from squares import write_experiment
from squares_query import CONFIG, squares_query

from mgral.artefacts.files import read_json, write_json
from mgral.cli.steps import pseudo_labels
from mgral.config import resolve_config
from mgral.data.dataset import load_dataset
from mgral.errors import InputError
from mgral.method.lut.pseudo_labels import (
    PseudoLabels,
    load_pseudo_labels,
    pseudo_truth,
    take_likeliest,
    with_pseudo_labels,
)

IDS = range(10, 22)
OBJECT = {"image_id": 20, "category_id": 0, "bbox": [2.0, 4.0, 10.0, 20.0], "score": 0.75}


@pytest.fixture
def experiment(tmp_path):
    """Twelve images of a square each, of which the first five are labelled, and a detector that finds something."""
    write_experiment(tmp_path)
    squares_query(tmp_path)
    write_json(tmp_path / "labelled.json", {"images": list(IDS[:5])})
    write_json(tmp_path / "config.yaml", resolve_config({"detector": CONFIG.model_dump()}).model_dump(mode="json"))
    return tmp_path


def run(folder):
    files = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files |= {"detector": "detector.safetensors", "output": "pseudo_labels.json"}
    options = [f"--{name}={folder / file}" for name, file in files.items()]
    CliRunner().invoke(pseudo_labels.command, options, catch_exceptions=False, standalone_mode=False)
    return load_pseudo_labels(folder / "pseudo_labels.json")


def test_the_pool_has_as_many_objects_an_image_as_the_labelled_images(experiment):
    labels = run(experiment)
    assert labels.images == tuple(IDS[5:])
    assert len(labels.objects) == 7
    coco = read_json(experiment / "train.json")
    twice = [{**box, "id": 100 + box["id"]} for box in coco["annotations"] if box["image_id"] in IDS[:5]]
    write_json(experiment / "train.json", {**coco, "annotations": coco["annotations"] + twice})
    more = run(experiment)
    assert len(more.objects) == 14
    assert min(one["score"] for one in more.objects) <= min(one["score"] for one in labels.objects)


def test_the_pools_own_labels_are_not_looked_at(experiment):
    before = run(experiment)
    coco = read_json(experiment / "train.json")
    coco["annotations"] = [box for box in coco["annotations"] if box["image_id"] in IDS[:5]]
    write_json(experiment / "train.json", coco)
    assert run(experiment) == before


def test_a_large_pool_in_parts_has_the_same_objects(experiment, monkeypatch):
    whole = run(experiment)
    monkeypatch.setattr(pseudo_labels, "IMAGES_AT_A_TIME", 2)
    assert run(experiment) == whole


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.integers(1, 3)), max_size=20), st.integers(0, 9))
def test_the_likeliest_of_each_class_are_taken_in_the_order_given(found, count):
    detections = [
        {"score": score, "category_id": category, "place": place} for place, (score, category) in enumerate(found)
    ]
    taken = take_likeliest(detections, {1: count, 2: 2})
    assert [one["place"] for one in taken] == sorted(one["place"] for one in taken)
    for category, wanted in ((1, count), (2, 2), (3, 0)):
        scores = [one["score"] for one in taken if one["category_id"] == category]
        assert sorted(scores) == sorted(score for score, of in found if of == category)[::-1][:wanted][::-1]


def test_a_rare_class_is_not_crowded_out_by_one_that_is_found_more_surely(experiment):
    """As mAP is a mean over classes, a class that the teacher were to drop would count for nothing in any reward."""
    coco = read_json(experiment / "train.json")
    coco["categories"] = [{"id": 4, "name": "common"}, {"id": 9, "name": "rare"}]
    owned = [box for box in coco["annotations"] if box["image_id"] in IDS[:5]]
    assert len(owned) == 5
    for box in owned:
        box["category_id"] = 4
    owned[0]["category_id"] = 9
    write_json(experiment / "train.json", {**coco, "annotations": owned})
    counts = pseudo_labels.expected_objects(load_dataset(experiment / "train.json"), np.array(IDS[:5]), images=10)
    assert counts == {4: 8, 9: 2}
    sure = [{"score": 0.9, "category_id": 4}] * 20
    unsure = [{"score": 0.1, "category_id": 9}] * 5
    assert [one["category_id"] for one in take_likeliest(sure + unsure, counts)] == [4] * 8 + [9] * 2


def test_a_taught_image_has_the_teachers_objects_and_none_of_its_own(experiment):
    truth = load_dataset(experiment / "train.json")
    taught = with_pseudo_labels(PseudoLabels((20, 21), (OBJECT,)), truth)
    np.testing.assert_array_equal(taught.boxes[10], [[2, 4, 12, 24]])
    assert taught.labels[10].tolist() == [0]
    assert taught.boxes[11].shape == (0, 4)
    assert taught.labels[11].shape == (0,)
    for row in range(10):
        np.testing.assert_array_equal(taught.boxes[row], truth.boxes[row])


def test_what_the_teacher_sees_is_the_truth_of_its_images(experiment):
    found = pseudo_truth(PseudoLabels((20, 21), (OBJECT,)), read_json(experiment / "train.json"))
    assert [image["id"] for image in found["images"]] == [20, 21]
    assert found["categories"] == [{"id": 0, "name": "square"}]
    (box,) = found["annotations"]
    assert (box["image_id"], box["category_id"], box["bbox"], box["area"]) == (20, 0, OBJECT["bbox"], 200.0)


def test_labels_are_read_as_they_were_written(tmp_path):
    labels = PseudoLabels((20, 21), (OBJECT,))
    write_json(tmp_path / "pseudo_labels.json", labels.to_json())
    assert load_pseudo_labels(tmp_path / "pseudo_labels.json") == labels
    (tmp_path / "pseudo_labels.json").write_text(json.dumps({"images": [1]}))
    with pytest.raises(InputError, match=r"pseudo_labels\.json does not hold .* run the step `pseudo_labels` again"):
        load_pseudo_labels(tmp_path / "pseudo_labels.json")
