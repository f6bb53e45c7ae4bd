"""VOC's average precision: hand-made cases, the rules against each other and against the kit's own loop."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.evaluation.coco import score_detections
from mgral.evaluation.voc import add_voc_scores, area_ap, eleven_point_ap, is_voc, precision_recall, score_class

BOX = [10, 10, 20, 20]
FAR = [60, 60, 20, 20]


def truth(box: list[float], image: int = 1, difficult: int = 0) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "bbox": box, "iscrowd": difficult, "difficult": difficult}


def found(score: float, box: list[float], image: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "bbox": box, "score": score}


def ap(boxes: list[dict[str, Any]], detections: list[dict[str, Any]]) -> tuple[float | None, float | None]:
    scores = score_class(boxes, detections)
    return scores["ap50_11point"], scores["ap50_area"]


def test_all_boxes_found_score_one() -> None:
    assert ap([truth(BOX), truth(FAR)], [found(0.9, BOX), found(0.8, FAR)]) == (1, 1)


def test_nothing_found_scores_zero_and_no_box_scores_nothing() -> None:
    assert ap([truth(BOX)], []) == (0, 0)
    assert ap([], [found(0.9, BOX)]) == (None, None)
    assert ap([truth(BOX, difficult=1)], [found(0.9, BOX)]) == (None, None)


def test_a_missed_box() -> None:
    # Recall ends at 0.5: the recalls 0 to 0.5 are six of eleven points.
    assert ap([truth(BOX), truth(FAR)], [found(0.9, BOX)]) == (pytest.approx(6 / 11), 0.5)


def test_a_second_detection_of_a_box_is_a_false_positive() -> None:
    detections = [found(0.9, BOX), found(0.8, BOX), found(0.7, FAR)]
    # Precision is 1 up to a recall of 0.5, and 2/3 from there.
    assert ap([truth(BOX), truth(FAR)], detections) == (pytest.approx((6 + 5 * 2 / 3) / 11), pytest.approx(5 / 6))


def test_the_best_box_counts_even_where_it_is_taken() -> None:
    beside = [12, 10, 20, 20]
    detections = [found(0.9, BOX), found(0.8, BOX)]  # COCO would give the second one the box beside
    assert ap([truth(BOX), truth(beside)], detections) == (pytest.approx(6 / 11), 0.5)


def test_the_higher_score_comes_first_and_equal_ones_in_their_order() -> None:
    boxes = [truth(BOX), truth(BOX, image=2)]
    assert ap(boxes[:1], [found(0.5, FAR), found(0.9, BOX)]) == (1, 1)
    assert ap(boxes[:1], [found(0.5, FAR), found(0.5, BOX)]) == (0.5, 0.5)
    assert ap(boxes[:1], [found(0.5, BOX), found(0.5, FAR)]) == (1, 1)


def test_a_difficult_box_counts_neither_way() -> None:
    boxes = [truth(BOX), truth(FAR, difficult=1)]
    assert ap(boxes, [found(0.9, FAR), found(0.8, FAR), found(0.7, BOX)]) == (1, 1)
    assert ap(boxes, [found(0.7, BOX)]) == (1, 1)
    # What overlaps it by less than half is a false positive. COCO would forgive what lies inside it.
    assert ap(boxes, [found(0.9, [60, 60, 9, 20]), found(0.8, BOX)]) == (0.5, 0.5)


def test_a_detection_in_another_image_is_a_false_positive() -> None:
    assert ap([truth(BOX)], [found(0.9, BOX, image=2), found(0.8, BOX)]) == (0.5, 0.5)


@pytest.mark.parametrize(("width", "hit"), [(9, True), (8, False)])
def test_boxes_include_their_last_pixel(width: int, hit: bool) -> None:
    # In VOC's files 1..20 and 1..10 (or ..9): 20 columns against 10, or 9; the kit asks for half at least.
    assert ap([truth([0, 0, 19, 9])], [found(0.9, [0, 0, width, 9])]) == (float(hit), float(hit))


def test_a_recall_of_three_in_ten_reaches_the_fourth_point() -> None:
    hits = np.array([True, True, True, *[False] * 5])
    precision, recall = precision_recall(hits, 10)
    assert eleven_point_ap(precision, recall) == pytest.approx(4 / 11)
    assert area_ap(precision, recall) == pytest.approx(0.3)


def test_a_known_curve() -> None:
    hits = np.array([True, False, True, False, False, True])
    precision, recall = precision_recall(hits, 4)
    assert recall.tolist() == [0.25, 0.25, 0.5, 0.5, 0.5, 0.75]
    assert eleven_point_ap(precision, recall) == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 1 / 2) / 11)
    assert area_ap(precision, recall) == pytest.approx((1 + 2 / 3 + 1 / 2) / 4)


@given(st.lists(st.booleans(), max_size=300), st.integers(0, 50))
def test_the_rules_differ_by_less_than_a_point_of_recall(hits: list[bool], missed: int) -> None:
    boxes = sum(hits) + missed
    if boxes:
        precision, recall = precision_recall(np.array(hits, dtype=np.bool_), boxes)
        eleven, area = eleven_point_ap(precision, recall), area_ap(precision, recall)
        assert 0 <= area <= 1
        # The highest precision from a recall on never rises, so eleven points are its upper sum and a bit more.
        assert area - 1e-9 <= 1.1 * eleven <= area + 0.1 * precision.max(initial=0) + 1e-9


coordinates = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 12), st.integers(1, 12)).map(list)
truths = st.lists(st.builds(truth, coordinates, st.integers(1, 2), st.integers(0, 1)), max_size=6)
detections = st.lists(st.builds(found, st.sampled_from([0.2, 0.5, 0.9]), coordinates, st.integers(1, 3)), max_size=12)


@settings(deadline=None, max_examples=300)
@given(truths, detections)
def test_agrees_with_the_kits_loop(boxes: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    hits = loop_over_detections(boxes, found)
    scored = sum(not box["difficult"] for box in boxes)
    if scored:
        precision, recall = precision_recall(np.array(hits, dtype=np.bool_), scored)
        assert ap(boxes, found) == (eleven_point_ap(precision, recall), area_ap(precision, recall))


def loop_over_detections(boxes: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[bool]:
    """Match as VOCevaldet.m does, one detection after the other, in VOC's coordinates: from 1, last pixel in."""
    taken, hits = set(), []
    for one in sorted(found, key=lambda one: -one["score"]):
        best, most = None, 0.0
        for index, box in enumerate(boxes):
            if box["image_id"] != one["image_id"]:
                continue
            (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = (
                (x + 1, y + 1, x + w + 1, y + h + 1) for x, y, w, h in (one["bbox"], box["bbox"])
            )
            width, height = min(ax2, bx2) - max(ax1, bx1) + 1, min(ay2, by2) - max(ay1, by1) + 1
            if width > 0 and height > 0:
                areas = (ax2 - ax1 + 1) * (ay2 - ay1 + 1) + (bx2 - bx1 + 1) * (by2 - by1 + 1)
                overlap = width * height / (areas - width * height)
                if overlap > most:
                    best, most = index, overlap
        if best is not None and most >= 0.5:
            if not boxes[best]["difficult"]:
                hits.append(best not in taken)
                taken.add(best)
        else:
            hits.append(False)
    return hits


def test_scores_stand_beside_those_of_coco() -> None:
    coco = {
        "images": [{"id": image, "width": 100, "height": 100} for image in (1, 2)],
        "categories": [{"id": number, "name": name} for number, name in ((1, "ant"), (2, "bee"), (3, "none"))],
        "annotations": [
            {**box, "id": index, "area": 400, "category_id": category}
            for index, (box, category) in enumerate([(truth(BOX), 1), (truth(FAR), 2), (truth(BOX, image=2), 2)], 1)
        ],
    }
    results = [found(0.9, BOX), {**found(0.8, FAR), "category_id": 2}, {**found(0.7, FAR, image=2), "category_id": 3}]
    scores = add_voc_scores(score_detections(coco, results, [1, 2]), coco, results)
    assert [one["ap50_11point"] for one in scores["per_class"]] == [1, pytest.approx(6 / 11), None]
    assert [one["ap50_area"] for one in scores["per_class"]] == [1, 0.5, None]
    assert (scores["ap50_11point"], scores["ap50_area"]) == (pytest.approx(17 / 22), 0.75)
    assert scores["ap50"] == pytest.approx(scores["ap50_area"], abs=0.01)
    assert is_voc(coco)
    assert not is_voc({"annotations": [{"id": 1}]})
