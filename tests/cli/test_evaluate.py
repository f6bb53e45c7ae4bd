"""Evaluation: detections in original pixels, scores as pycocotools has them, and nothing but the images asked for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluate import largest_difference, run_pycocotools
from mgral.evaluation.coco import score_detections

TRUTH = {
    "images": [{"id": 7, "width": 100, "height": 80}, {"id": 9, "width": 100, "height": 80}],
    "categories": [{"id": 0, "name": "zero"}, {"id": 5, "name": "five"}, {"id": 6, "name": "none"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 0, "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [50, 30, 40, 40], "area": 1600, "iscrowd": 0},
        {"id": 3, "image_id": 9, "category_id": 0, "bbox": [0, 0, 50, 50], "area": 2500, "iscrowd": 0},
    ],
}


def detection(annotation: dict, score: float = 0.9) -> dict:
    return {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": score}


def test_the_truth_scores_one() -> None:
    scores = score_detections(TRUTH, [detection(box) for box in TRUTH["annotations"]], [7, 9])
    for name in ("map", "ap50", "ap75", "ap_small", "ap_medium"):
        assert scores[name] == pytest.approx(1)
    assert scores["ap_large"] is None
    assert [(one["id"], one["boxes"]) for one in scores["per_class"]] == [(0, 2), (5, 1), (6, 0)]
    assert [one["map"] for one in scores["per_class"]] == [pytest.approx(1), pytest.approx(1), None]
    assert (scores["images"], scores["boxes"]) == (2, 3)


def test_no_detection_scores_zero() -> None:
    assert score_detections(TRUTH, [], [7, 9])["map"] == 0


def test_only_the_images_asked_for_count() -> None:
    found = [detection(TRUTH["annotations"][2])]
    assert score_detections(TRUTH, found, [9])["map"] == pytest.approx(1)
    assert score_detections(TRUTH, found, [7])["map"] == 0


def test_a_missed_box_halves_recall() -> None:
    found = [detection(TRUTH["annotations"][0]), detection(TRUTH["annotations"][1])]
    scores = score_detections(TRUTH, found, [7, 9])
    by_name = {one["name"]: one["ap50"] for one in scores["per_class"]}
    assert by_name["zero"] == pytest.approx(51 / 101)
    assert scores["ap50"] == pytest.approx(np.mean([51 / 101, 1]))


IMAGES, CLASSES = [1, 4, 5], [0, 3, 90]  # the last class of the truth has no box
coordinates = st.tuples(*[st.integers(0, 60)] * 2, *[st.sampled_from([1, 20, 40, 41, 110])] * 2).map(list)
entries = st.fixed_dictionaries(
    {"image_id": st.sampled_from(IMAGES), "category_id": st.sampled_from(CLASSES), "bbox": coordinates}
)


@settings(deadline=None, max_examples=200)
@given(
    boxes=st.lists(st.tuples(entries, st.integers(0, 3)), max_size=12),
    found=st.lists(st.tuples(entries, st.sampled_from([0.1, 0.5, 0.50001, 0.9])), max_size=30),
    copies=st.lists(st.tuples(st.integers(0, 11), st.integers(-4, 4), st.floats(0, 1)), max_size=20),
)
def test_scores_are_those_of_pycocotools(boxes: list[Any], found: list[Any], copies: list[Any]) -> None:
    """On crowds, ties, classes without a box or a detection, several detections of a box, and all sizes."""
    truth = {
        "images": [{"id": image, "width": 200, "height": 200} for image in IMAGES],
        "categories": [{"id": number, "name": str(number)} for number in [*CLASSES, 91]],
        "annotations": [
            {**box, "id": index, "area": box["bbox"][2] * box["bbox"][3], "iscrowd": int(crowd == 0)}
            for index, (box, crowd) in enumerate(boxes, start=1)
        ],
    }
    detections = [{**one, "score": score} for one, score in found]
    for index, moved, score in copies:
        if index < len(boxes):
            box = boxes[index][0]
            detections.append({**box, "bbox": [box["bbox"][0] + moved, *box["bbox"][1:]], "score": score})
    ours, theirs = (score_detections(truth, detections, IMAGES, *library) for library in ([], [run_pycocotools]))
    assert largest_difference(ours, theirs) < 1e-12
