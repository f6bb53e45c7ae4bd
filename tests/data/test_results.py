"""Files that a command wrote: what is read of them, and every fault named."""

import json

import numpy as np
import pytest

from mgral.artefacts.files import write_arrays
from mgral.data.dataset import as_dataset
from mgral.data.findings import FaultyDataError, Findings
from mgral.data.results import FoundBoxes, found_arrays, join, load_features, load_found, read_features, read_found
from mgral.errors import InputError

DATASET = as_dataset(
    {
        "images": [{"id": id_, "file_name": f"{id_}.png", "width": 100, "height": 80} for id_ in (7, 9, 4)],
        "annotations": [],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
    }
)
GOOD = {"image_id": 9, "category_id": 5, "bbox": [10, 20, 30, 40], "score": 0.5, "probabilities": [0.2, 0.3, 0.5]}


def read(tmp_path, results, probabilities=True, images=(7, 9, 4)):
    path = tmp_path / "pool.json"
    path.write_text(results if isinstance(results, str) else json.dumps(results))
    findings = Findings()
    return read_found(path, DATASET, np.array(images), probabilities, findings), findings


def test_results_in_any_order_are_sorted_by_image_and_score(tmp_path):
    given = [GOOD, {**GOOD, "score": 0.75, "category_id": 3}, {**GOOD, "image_id": 7, "bbox": [0, 0, 1.5, 2]}]
    found, findings = read(tmp_path, given)
    assert found.rows.tolist() == [0, 1, 1]
    assert found.scores.tolist() == [0.5, 0.75, 0.5]
    assert found.labels.tolist() == [1, 0, 1]
    assert found.boxes.tolist() == [[0, 0, 1.5, 2], [10, 20, 40, 60], [10, 20, 40, 60]]
    np.testing.assert_allclose(found.distributions, [[0.2, 0.3, 0.5]] * 3, rtol=1e-6)
    assert (findings.faults, findings.repairs) == ({}, {})


def test_probabilities_are_not_asked_for_where_they_are_not_declared(tmp_path):
    found, findings = read(
        tmp_path, [{key: GOOD[key] for key in GOOD if key != "probabilities"}], probabilities=False
    )
    assert found.distributions.shape == (1, 0)
    assert findings.faults == {}


def test_oddities_are_used_and_named(tmp_path):
    """A box over the edge is cut; an empty one is left out; sums that rounding missed are made 1."""
    odd = [
        {**GOOD, "bbox": [-5, 70, 20, 20]},
        {**GOOD, "bbox": [5, 5, 0, 10]},
        {**GOOD, "probabilities": [0.2, 0.3, 0.505]},
    ]
    found, findings = read(tmp_path, odd)
    assert sorted(found.boxes.tolist()) == [[0, 70, 15, 80], [10, 20, 40, 60]]
    np.testing.assert_allclose(found.distributions.sum(axis=1), 1, rtol=1e-6)
    assert {kind.title: len(places) for kind, places in findings.repairs.items()} == {
        "boxes reach over the edge of their image": 1,
        "boxes have no area": 1,
    }
    assert findings.faults == {}


FAULTS = {
    "an unknown image": ({"image_id": 8}, "results name an image that is not in the list", "image_id 8"),
    "an image as text": ({"image_id": "9"}, "results name an image that is not in the list", "image_id '9'"),
    "an unknown class": ({"category_id": 1}, "results name an unknown category", "category_id 1"),
    "a score above 1": ({"score": 1.5}, "scores are not within 0..1", "score 1.5"),
    "a score of NaN": ({"score": float("nan")}, "scores are not within 0..1", "score nan"),
    "no score": ({"score": None}, "scores are not within 0..1", "score None"),
    "three numbers": ({"bbox": [1, 2, 3]}, "boxes are not four numbers", "bbox [1, 2, 3]"),
    "an infinite side": ({"bbox": [1, 2, 3, float("inf")]}, "boxes are not four numbers", "inf"),
    "corners the wrong way": ({"bbox": [30, 30, -10, 5]}, "boxes are not four numbers", "-10"),
    "a box outside": ({"bbox": [100, 0, 10, 10]}, "boxes lie outside", "in 100 x 80 pixels"),
    "fractions": ({"bbox": [0.1, 0.2, 0.3, 0.4]}, "files have most of their boxes within the first pixel", "1 of 1"),
    "too few probabilities": ({"probabilities": [0.5, 0.5]}, "results have no valid probabilities", "[0.5, 0.5]"),
    "no probabilities": ({"probabilities": None}, "results have no valid probabilities", "None"),
    "a sum of 0.9": ({"probabilities": [0.2, 0.2, 0.5]}, "results have no valid probabilities", "[0.2, 0.2, 0.5]"),
    "a negative one": ({"probabilities": [-0.5, 1, 0.5]}, "results have no valid probabilities", "[-0.5, 1, 0.5]"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_faulty_result_is_named_with_its_place(tmp_path, case):
    change, title, told = FAULTS[case]
    _, findings = read(tmp_path, [{**GOOD, **change}])
    ((kind, places),) = findings.faults.items()
    assert kind.title.startswith(title)
    assert len(places) == 1
    assert told in places[0]


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("{}", "files are no list of results"),
        ('{"half', "files are missing or cannot be read"),
        ("[7]", "results are no objects"),
    ],
)
def test_a_faulty_file_is_named(tmp_path, content, title):
    _, findings = read(tmp_path, content)
    assert [kind.title for kind in findings.faults] == [title]


def test_an_image_of_another_list_is_refused(tmp_path):
    _, findings = read(tmp_path, [GOOD], images=(7, 4))
    assert [kind.title for kind in findings.faults] == ["results name an image that is not in the list of their file"]


def test_all_faults_are_found_in_one_pass(tmp_path):
    """Also those of another part of the same result, and of other files."""
    _, findings = read(tmp_path, [{**GOOD, "image_id": 1, "score": 2}, {**GOOD, "image_id": 1}, GOOD])
    read_features(tmp_path / "features.npz", DATASET, findings)
    with pytest.raises(FaultyDataError) as raised:
        findings.raise_faults("what the command wrote", "")
    lines = str(raised.value).splitlines()
    assert lines[0] == "what the command wrote cannot be used: 4 faults of 3 kinds; nothing is written"
    assert [line for line in lines if line.startswith("  R") or line.startswith("  S") or line.startswith("  F")] == [
        "  Results name an image that is not in the list of their file (2): write the image's own id",
        "  Scores are not within 0..1 (1): write a number from 0 to 1",
        "  Files are missing or cannot be read (1): let the command write them to {output}",
    ]


def features(tmp_path, **arrays):
    np.savez(tmp_path / "features.npz", **arrays)
    findings = Findings()
    return read_features(tmp_path / "features.npz", DATASET, findings), findings


def test_features_come_in_the_order_of_the_data_set(tmp_path):
    found, findings = features(tmp_path, image_ids=[9, 4, 7], features=[[9.0, 1], [4, 1], [7, 1]])
    assert findings.faults == {}
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == [7, 9, 4]


NOT_FINITE = np.array([[1.0], [np.nan], [3.0]])


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"image_ids": [9, 4], "features": np.ones((2, 2))}, "1 images lack features: [7]"),
        ({"image_ids": [9, 4, 7, 1], "features": np.ones((4, 2))}, "1 images are not in the list: [1]"),
        ({"image_ids": [9, 4, 7, 7], "features": np.ones((4, 2))}, "1 images are there more than once: [7]"),
        ({"image_ids": [9, 4, 7], "features": NOT_FINITE}, "1 images have features that are not finite: [4]"),
        ({"image_ids": [9, 4, 7], "features": [[1.0], [1.0], [1e300]]}, "not finite: [7]"),
        ({"image_ids": [9, 4, 7], "features": np.ones((2, 2))}, "[2, 2] features of 3 image ids"),
        ({"image_ids": [9, 4, 7], "features": np.ones(3)}, "[3] features of 3 image ids"),
        ({"image_ids": ["9"], "features": np.ones((1, 2))}, "image_ids are <U1 [1]"),
        ({"features": np.ones((3, 2))}, "image_ids"),
        ({"image_ids": [9, 4, 7], "features": np.array([None] * 3)}, "allow_pickle"),
    ],
)
def test_faulty_features_are_named(tmp_path, arrays, told):
    _, findings = features(tmp_path, **arrays)
    ((place,),) = findings.faults.values()
    assert told in place


def test_a_single_array_is_no_file_of_features(tmp_path):
    with (tmp_path / "features.npz").open("wb") as file:
        np.save(file, np.ones((3, 2)))
    findings = Findings()
    read_features(tmp_path / "features.npz", DATASET, findings)
    ((place,),) = findings.faults.values()
    assert "it contains a single array" in place


def boxes(*of):
    """Boxes given as row and score."""
    rows, scores = (np.array(part) for part in zip(*of, strict=True))
    sides = np.zeros((len(rows), 4), np.float32)
    return FoundBoxes(
        rows, sides, scores.astype(np.float32), np.zeros_like(rows), np.zeros((len(rows), 0), np.float32)
    )


def test_of_each_image_the_best_above_a_score_are_taken():
    found = boxes((0, 0.75), (0, 0.625), (0, 0.5), (2, 0.75), (2, 0.125), (5, 0.25))
    kept = found.above(0.25, max_boxes=2)
    assert list(zip(kept.rows.tolist(), kept.scores.tolist(), strict=True)) == [(0, 0.75), (0, 0.625), (2, 0.75)]
    assert [len(kept.of_row(row).rows) for row in range(4)] == [2, 0, 1, 0]


def test_what_is_saved_is_loaded(tmp_path):
    path, train = tmp_path / "external.safetensors", join([boxes((1, 0.5), (3, 0.2)), boxes((0, 0.3), (2, 0.1))])
    write_arrays(path, found_arrays(boxes((0, 0.5)), train, None))
    assert load_found(path, "train").rows.tolist() == [0, 1, 2, 3]
    assert load_found(path, "test").scores.tolist() == [0.5]
    with pytest.raises(InputError, match="contains no features; delete it and run the step `external` again"):
        load_features(path)
