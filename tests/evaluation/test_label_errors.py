"""Likely errors of labels: those that were planted are found, and where none is, few are."""

from collections import Counter

import numpy as np
import pytest

from mgral.evaluation.label_errors import likely_errors

IMAGES, CLASSES, SIDE = 150, {4: "car", 7: "dog", 9: "cat"}, 200


def scenes(seed):
    """Return true boxes by image: x, y, width, height and class, which do not overlap."""
    rng = np.random.default_rng(seed)
    places = [(x, y) for x in range(0, SIDE, 50) for y in range(0, SIDE, 50)]
    return {
        image: [
            (
                float(places[place][0] + rng.integers(0, 10)),
                float(places[place][1] + rng.integers(0, 10)),
                float(rng.integers(20, 40)),
                float(rng.integers(20, 40)),
                int(rng.choice(list(CLASSES))),
            )
            for place in rng.choice(len(places), rng.integers(1, 8), replace=False)
        ]
        for image in range(1, IMAGES + 1)
    }


def detected(true, seed, finds=0.93):
    """Return what a fair detector finds: most objects, a little beside them, and other things with low scores."""
    rng = np.random.default_rng(seed)
    found = []

    def add(image, box, category, score):
        one = {"image_id": image, "category_id": int(category), "bbox": [float(side) for side in box]}
        found.append({**one, "score": round(float(score), 5)})

    for image, boxes in true.items():
        for *box, category in boxes:
            if rng.random() < finds:
                add(image, np.array(box) + rng.normal(0, 1.5, 4), category, rng.beta(6, 2))
                other = rng.choice([one for one in CLASSES if one != category])
                add(image, np.array(box) + rng.normal(0, 1.5, 4), other, rng.beta(1, 8))
        for _ in range(10):
            add(
                image,
                [*rng.uniform(0, SIDE - 40, 2), *rng.uniform(15, 40, 2)],
                rng.choice(list(CLASSES)),
                rng.beta(1, 9),
            )
    return found


def as_coco(labels):
    annotations = [
        {"id": 100 * image + place, "image_id": image, "category_id": box[4], "bbox": [*box[:4]], "iscrowd": 0}
        for image, boxes in labels.items()
        for place, box in enumerate(boxes)
    ]
    images = [{"id": image, "width": SIDE, "height": SIDE, "file_name": f"{image}.png"} for image in labels]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in CLASSES.items()],
    }


def planted(true, seed, share=0.08):
    """Return labels with errors, and what was done: image, kind as the list calls it, and the true box."""
    rng = np.random.default_rng(seed)
    labels, done = {}, []
    for image, boxes in true.items():
        labels[image] = []
        for box in boxes:
            what = rng.choice(["missing", "class", "place", "not found"]) if rng.random() < share else ""
            x, y, width, height, category = box
            if what == "class":
                box = (x, y, width, height, next(one for one in CLASSES if one != category))
            elif what == "place":
                box = (x + width / 2, y, width, height, category)  # overlaps what was by a third
            elif what == "not found":
                labels[image].append((x, SIDE + 5.0, width, height, category))  # where nothing is
            if what:
                done.append((image, what, (x, y, width, height)))
            if what != "missing":
                labels[image].append(box)
    return labels, done


@pytest.mark.parametrize("seed", range(3))
def test_planted_errors_are_found_first(seed):
    """Nearly all are listed by their kind, and most entries but those of objects that detectors miss are errors."""
    true = scenes(seed)
    labels, done = planted(true, seed + 100)
    assert len(done) > 30
    assert len({what for _, what, _ in done}) == 4
    suspects = likely_errors(as_coco(labels), detected(true, seed + 200))
    listed = {(one.image, one.kind) for one in suspects}
    found = sum((image, what) in listed for image, what, _ in done)
    assert found >= 0.8 * len(done)
    wrong = {(image, what) for image, what, _ in done}
    by_detections = [one for one in suspects if one.kind != "not found"]
    assert np.mean([(one.image, one.kind) in wrong for one in by_detections]) >= 0.8
    assert [one.sure for one in suspects] == sorted((one.sure for one in suspects), reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_of_labels_without_errors_few_are_listed(seed):
    """Objects that a detector misses, 7 in 100, are listed as not found, and next to nothing else is."""
    true = scenes(seed)
    kinds = Counter(one.kind for one in likely_errors(as_coco(true), detected(true, seed + 200)))
    boxes = sum(map(len, true.values()))
    assert kinds["not found"] <= 0.1 * boxes
    assert kinds.total() - kinds["not found"] <= 0.02 * boxes


def test_a_perfect_detector_finds_every_error_and_nothing_else():
    true = scenes(5)
    labels, done = planted(true, 6)
    found = [
        {"image_id": image, "category_id": box[4], "bbox": [*box[:4]], "score": 0.9}
        for image, boxes in true.items()
        for box in boxes
    ]
    listed = Counter((one.image, one.kind) for one in likely_errors(as_coco(labels), found))
    # A label where nothing is stands for an object that is labelled too; what moved by half is found beside it.
    assert listed == Counter((image, what) for image, what, _ in done)


def small(*boxes):
    """Return labels and detections of 20 pictures that agree, and of one more with the given labels."""
    true = {image: [(10.0, 10.0, 20.0, 20.0, 4), (60.0, 60.0, 20.0, 20.0, 7)] for image in range(1, 21)}
    found = [
        {"image_id": image, "category_id": box[4], "bbox": [*box[:4]], "score": 0.8}
        for image, boxes in true.items()
        for box in boxes
    ]
    return as_coco({**true, 21: list(boxes)}), found


def of_last(truth, found, *more):
    results = [{"image_id": 21, "category_id": c, "bbox": list(box), "score": score} for c, box, score in more]
    return [one for one in likely_errors(truth, [*found, *results]) if one.image == 21]


def test_what_is_said_names_classes_and_how_often_people_and_detectors_agree():
    truth, found = small((10.0, 10.0, 20.0, 20.0, 4))
    (one,) = of_last(truth, found, (7, (10, 10, 20, 20), 0.9))
    assert (one.kind, one.label, one.box) == ("class", 4, (10, 10, 20, 20))
    # 40 of 41 detections at a label have its class: the higher score of the one that has not counts no more.
    assert one.sure == pytest.approx(40 / 41)
    assert one.reason == "labelled car, found as dog; 98% of what is found as clearly at a label has its class"


def test_one_object_that_is_found_twice_is_listed_once():
    truth, found = small()
    (one,) = of_last(truth, found, (4, (10, 10, 20, 20), 0.9), (7, (11, 10, 20, 20), 0.85))
    assert (one.kind, one.label) == ("missing", 4)


def test_a_second_detection_of_a_labelled_object_is_no_error():
    truth, found = small((10.0, 10.0, 20.0, 20.0, 4))
    assert not of_last(
        truth, found, (4, (10, 10, 20, 20), 0.9), (4, (10, 10, 20, 12), 0.85), (7, (9, 9, 20, 20), 0.8)
    )


def test_a_class_that_is_hardly_ever_found_is_not_listed():
    """Of 20 cats none is found, and of 40 others all: nothing says that a cat's label is wrong."""
    truth, found = small()
    cats = [
        {"id": 9000 + image, "image_id": image, "category_id": 9, "bbox": [120.0, 120.0, 20.0, 20.0]}
        for image in range(1, 21)
    ]
    assert not likely_errors({**truth, "annotations": [*truth["annotations"], *cats]}, found)


@pytest.mark.parametrize("nothing", ["labels", "detections", "both"])
def test_without_labels_or_detections_nothing_is_said(nothing):
    truth, found = small((10.0, 10.0, 20.0, 20.0, 4))
    if nothing != "detections":
        truth = {**truth, "annotations": []}
    assert likely_errors(truth, [] if nothing != "labels" else found) == []
