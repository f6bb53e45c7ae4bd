"""Pseudo-labels: what the cycle's detector finds in the pool."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from squares import square_set, write_experiment
from squares_query import CONFIG, squares_query

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.config import Config
from mgral.data.dataset import Category
from mgral.errors import InputError
from mgral.method.lut import pseudo_labels
from mgral.method.lut.pseudo_labels import (
    PseudoLabels,
    expected_objects,
    label_pool,
    load_pseudo_labels,
    pseudo_truth,
    take_likeliest,
    with_pseudo_labels,
)
from mgral.models.build import save_detector

IDS = range(10, 22)
OBJECT = {"image_id": 20, "category_id": 0, "bbox": [2.0, 4.0, 10.0, 20.0], "score": 0.75}


CONFIGURATION = Config(detector=CONFIG)


def label(data):
    """Label twelve images of a square each, of which the first five are labelled."""
    return label_pool(CONFIGURATION, data, np.array(IDS[:5]), squares_query().detector)


def with_labels(data, labels):
    """Return the images with other classes, an array an image; each box is as large as the image."""
    boxes = tuple(np.tile(np.float32([0, 0, 128, 128]), (len(of_image), 1)) for of_image in labels)
    return replace(data, dataset=replace(data.dataset, boxes=boxes, labels=tuple(map(np.array, labels))))


def test_the_pool_has_as_many_objects_an_image_as_the_labelled_images():
    labels = label(square_set())
    assert labels.images == tuple(IDS[5:])
    assert len(labels.objects) == 7
    more = label(with_labels(square_set(), [[0, 0]] * 5 + [[0]] * 7))
    assert len(more.objects) == 14
    assert min(one["score"] for one in more.objects) <= min(one["score"] for one in labels.objects)


def test_the_pools_own_labels_do_not_matter():
    assert label(with_labels(square_set(), [[0]] * 5 + [[], [0, 0, 0]] + [[]] * 5)) == label(square_set())


def test_a_large_pool_in_parts_has_the_same_objects(monkeypatch):
    whole = label(square_set())
    monkeypatch.setattr(pseudo_labels, "IMAGES_AT_A_TIME", 2)
    assert label(square_set()) == whole


def test_the_step_writes_what_the_function_returns(tmp_path, capsys):
    write_experiment(tmp_path)
    save_detector(squares_query().detector, tmp_path / "detector.safetensors")
    write_json(tmp_path / "labelled.json", {"images": list(IDS[:5])})
    write_json(tmp_path / "config.yaml", CONFIGURATION.model_dump(mode="json"))
    files = {"config": "config.yaml", "dataset": "train.json", "images": "train.npy", "labelled": "labelled.json"}
    files |= {"detector": "detector.safetensors", "output": "pseudo_labels.json"}
    mgral(["pseudo_labels", *(f"--{name}={tmp_path / file}" for name, file in files.items())], standalone_mode=False)
    assert load_pseudo_labels(tmp_path / "pseudo_labels.json") == label(square_set())
    assert "7 objects, of 7 expected, in 7 images" in capsys.readouterr().err


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


def test_a_rare_class_is_not_crowded_out_by_one_that_is_found_more_surely():
    """As mAP is a mean over classes, a class that lost all its labels would count for nothing in any reward."""
    data = with_labels(square_set(), [[1]] + [[0]] * 4 + [[]] * 7).dataset
    two_classes = replace(data, categories=(Category(4, "common"), Category(9, "rare")))
    counts = expected_objects(two_classes, np.array(IDS[:5]), images=10)
    assert counts == {4: 8, 9: 2}
    sure = [{"score": 0.9, "category_id": 4}] * 20
    unsure = [{"score": 0.1, "category_id": 9}] * 5
    assert [one["category_id"] for one in take_likeliest(sure + unsure, counts)] == [4] * 8 + [9] * 2


def test_a_pseudo_labelled_image_has_these_objects_and_none_of_its_own():
    truth = square_set().dataset
    taught = with_pseudo_labels(PseudoLabels((20, 21), (OBJECT,)), truth)
    np.testing.assert_array_equal(taught.boxes[10], [[2, 4, 12, 24]])
    assert taught.labels[10].tolist() == [0]
    assert taught.boxes[11].shape == (0, 4)
    assert taught.labels[11].shape == (0,)
    for row in range(10):
        np.testing.assert_array_equal(taught.boxes[row], truth.boxes[row])


def test_pseudo_labels_are_the_truth_of_their_images():
    found = pseudo_truth(PseudoLabels((20, 21), (OBJECT,)), square_set().truth())
    assert [image["id"] for image in found["images"]] == [20, 21]
    assert found["categories"] == [{"id": 0, "name": "square"}]
    (box,) = found["annotations"]
    assert (box["image_id"], box["category_id"], box["bbox"], box["area"]) == (20, 0, OBJECT["bbox"], 200.0)


def test_labels_are_read_as_they_were_written(tmp_path):
    labels = PseudoLabels((20, 21), (OBJECT,))
    write_json(tmp_path / "pseudo_labels.json", labels.to_json())
    assert load_pseudo_labels(tmp_path / "pseudo_labels.json") == labels
    (tmp_path / "pseudo_labels.json").write_text(json.dumps({"images": [1]}))
    with pytest.raises(
        InputError, match=r"pseudo_labels\.json does not contain .* run the step `pseudo_labels` again"
    ):
        load_pseudo_labels(tmp_path / "pseudo_labels.json")
