"""The score from which detections are more often right than wrong, against the rule written out word by word."""

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from mgral.evaluation.precision import WITHOUT_LABELS, trusted_score

BOXES = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
KEYS = {"image_id": st.integers(1, 2), "category_id": st.integers(1, 2)}
LABELS = st.lists(st.fixed_dictionaries({**KEYS, "bbox": BOXES, "iscrowd": st.integers(0, 1)}), max_size=6)
SCORES = st.integers(0, 4).map(lambda tenths: tenths / 10)  # few of them, so that some are the same
FOUND = st.lists(st.fixed_dictionaries({**KEYS, "bbox": BOXES, "score": SCORES}), max_size=8)
IMAGES = [{"id": 1}, {"id": 2}]


def truth(labels):
    return {"images": IMAGES, "annotations": labels}


def overlap(one, other):
    """Return the IoU of two boxes, counted pixel by pixel."""
    first, second = (
        {(x, y) for x in range(box[0], box[0] + box[2]) for y in range(box[1], box[1] + box[3])}
        for box in (one, other)
    )
    return Fraction(len(first & second), len(first | second)) if first | second else Fraction(0)


def oracle(labels, found):
    labels = [one for one in labels if not one["iscrowd"]]
    if not labels:
        return WITHOUT_LABELS
    right, taken = {}, set()
    for place, one in sorted(enumerate(found), key=lambda pair: (-pair[1]["score"], pair[0])):
        own = [
            (overlap(one["bbox"], label["bbox"]), -number)
            for number, label in enumerate(labels)
            if number not in taken
            and (label["image_id"], label["category_id"]) == (one["image_id"], one["category_id"])
        ]
        best = max(own, default=(Fraction(0), 0))
        right[place] = best[0] >= Fraction(1, 2)
        if right[place]:
            taken.add(-best[1])
    good = []
    for score in {one["score"] for one in found}:
        above = [right[place] for place, one in enumerate(found) if one["score"] >= score]
        if 2 * sum(above) >= len(above):
            good.append(score)
    return min(good, default=None)


@settings(max_examples=400, deadline=None)
@given(labels=LABELS, found=FOUND)
def test_as_the_rule_says(labels, found):
    assert trusted_score(truth(labels), found) == oracle(labels, found)


def label(x, image=1, category=1, iscrowd=0):
    return {"image_id": image, "category_id": category, "bbox": [x, 0, 10, 10], "iscrowd": iscrowd}


def detection(x, score, image=1, category=1):
    return {"image_id": image, "category_id": category, "bbox": [x, 0, 10, 10], "score": score}


def test_by_hand():
    labels = [label(0), label(100)]
    right, wrong = detection(1, 0.9), detection(50, 0.6)
    assert trusted_score(truth(labels), [right]) == 0.9
    assert trusted_score(truth(labels), [right, wrong]) == 0.6  # 1 of 2
    assert trusted_score(truth(labels), [wrong, right, detection(60, 0.5)]) == 0.6  # 1 of 3 is less than half
    assert trusted_score(truth(labels), [right, wrong, detection(60, 0.5), detection(101, 0.4)]) == 0.4  # 2 of 4
    assert trusted_score(truth(labels), [wrong]) is None
    assert trusted_score(truth(labels), []) is None
    assert trusted_score(truth([]), [wrong]) == WITHOUT_LABELS
    assert trusted_score(truth([label(0, iscrowd=1)]), [right]) == WITHOUT_LABELS


def test_a_label_is_found_once_and_by_its_class_in_its_image_only():
    second = detection(0, 0.8)
    assert trusted_score(truth([label(0)]), [detection(1, 0.9), second, detection(2, 0.7)]) == 0.8
    assert trusted_score(truth([label(0)]), [detection(0, 0.9, category=2)]) is None
    assert trusted_score(truth([label(0)]), [detection(0, 0.9, image=2)]) is None


def test_detections_of_the_same_score_count_together():
    """Whichever comes first: one of three is right at the only score that there is."""
    those = [detection(0, 0.7), detection(50, 0.7), detection(60, 0.7)]
    assert trusted_score(truth([label(0)]), those) is None


def test_images_without_labels_of_their_own_count_where_they_are_known():
    found = [detection(0, 0.9), detection(0, 0.8, image=2), detection(0, 0.7, image=2)]
    assert trusted_score(truth([label(0)]), found) == 0.8
    unknown = [one | {"image_id": 3} if one["image_id"] == 2 else one for one in found]
    assert trusted_score(truth([label(0)]), unknown) == 0.9
