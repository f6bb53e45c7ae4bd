"""Folds, and scores of what detectors find in images that they have not learnt."""

from collections import Counter

import numpy as np
import pytest

from mgral.errors import InputError
from mgral.evaluation.coco import score_detections
from mgral.evaluation.cross_validation import as_units, deal_folds, resampled_weights, score_held_out, score_several

IDS = np.array([11, 3, 8, 20, 5, 9, 1, 30, 31, 32], dtype=np.int64)


@pytest.mark.parametrize("seed", range(20))
def test_folds_share_no_group_and_have_each_image_once(seed):
    rng = np.random.default_rng(seed)
    images = np.arange(1, 60)
    cuts = np.sort(rng.choice(np.arange(1, 40), 6, replace=False))
    groups = [tuple(part.tolist()) for part in np.split(rng.permutation(images)[:40], cuts)]
    folds = deal_folds(images, groups, 5, seed)
    assert sorted(image for fold in folds for image in fold) == images.tolist()
    fold_of = {image: number for number, fold in enumerate(folds) for image in fold}
    assert all(len({fold_of[image] for image in group}) == 1 for group in groups)
    largest = max(map(len, groups))
    assert max(map(len, folds)) - min(map(len, folds)) <= largest
    assert folds == deal_folds(images[::-1].copy(), groups[::-1], 5, seed)


def test_folds_of_single_images_have_one_size_and_are_drawn():
    dealt = [deal_folds(IDS, [], 5, seed) for seed in range(200)]
    assert all({len(fold) for fold in folds} == {2} for folds in dealt)
    together = Counter(3 in fold and 8 in fold for folds in dealt for fold in folds if 3 in fold)
    assert 10 <= together[True] <= 36  # one in nine of 200, standard deviation 4.4


def test_groups_of_other_images_count_nothing():
    assert as_units(IDS[:4], [(8, 99, 3), (77, 78), (20, 55)]) == [(3, 8), (11,), (20,)]


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match=r"5 folds need .* there are 4; label more, or take fewer folds"):
        deal_folds(IDS[:6], [(11, 3, 8)], 5, 0)


def data(images=40, classes=(2, 6), finds=0.7, seed=0):
    """Return labels and detections; what is found has the right box."""
    rng = np.random.default_rng(seed)
    truth = {
        "images": [{"id": image, "width": 100, "height": 100, "file_name": ""} for image in range(1, images + 1)],
        "annotations": [],
        "categories": [{"id": one, "name": f"class {one}"} for one in (*classes, 9)],
    }
    found = []
    for image in range(1, images + 1):
        for place in range(int(rng.integers(1, 4))):
            category, box = int(rng.choice(classes)), [30.0 * place, 10.0, 20.0, 20.0]
            one = {"image_id": image, "category_id": category, "bbox": box}
            truth["annotations"].append(
                {**one, "id": len(truth["annotations"]) + 1, "area": box[2] * box[3], "iscrowd": 0}
            )
            if rng.random() < finds:
                found.append({**one, "score": float(rng.random())})
            if rng.random() < 0.3:
                found.append({**one, "bbox": [30.0 * place, 60.0, 20.0, 20.0], "score": float(rng.random())})
    return truth, found


def test_scores_are_those_of_coco_and_a_class_without_a_box_has_none():
    truth, found = data()
    scores = score_held_out(truth, found, [(image,) for image in range(1, 41)])
    coco = score_detections(truth, found, range(1, 41))
    assert scores["map"]["score"] == pytest.approx(coco["map"], abs=1e-12)
    assert scores["ap50"]["score"] == pytest.approx(coco["ap50"], abs=1e-12)
    assert (scores["images"], scores["boxes"]) == (40, len(truth["annotations"]))
    for ours, theirs in zip(scores["per_class"], coco["per_class"], strict=True):
        assert ours["boxes"] == theirs["boxes"]
        assert (ours["map"] and ours["map"]["score"]) == (theirs["map"] and pytest.approx(theirs["map"], abs=1e-12))
    assert scores["per_class"][2]["map"] is None
    assert scores["map"]["low"] < scores["map"]["score"] < scores["map"]["high"]


def test_the_interval_of_copies_is_that_of_their_groups():
    """Each image four times says no more than once; taken for 40 images its interval is half as wide."""
    images = np.arange(1, 41).reshape(10, 4)
    once, found_once = data(images=10, seed=3)
    truth, found = {**once, "images": [], "annotations": []}, []
    for original, *copies in zip(range(1, 11), *images.T.tolist(), strict=True):
        for copy in copies:
            truth["images"].append({"id": copy, "width": 100, "height": 100, "file_name": ""})
            truth["annotations"] += [
                {**a, "image_id": copy} for a in once["annotations"] if a["image_id"] == original
            ]
            found += [{**a, "image_id": copy} for a in found_once if a["image_id"] == original]

    def width(scores):
        return scores["ap50"]["high"] - scores["ap50"]["low"]

    alone = width(score_held_out(once, found_once, [(image,) for image in range(1, 11)]))
    grouped = width(score_held_out(truth, found, images.tolist()))
    taken_for_40 = width(score_held_out(truth, found, [(image,) for image in range(1, 41)]))
    assert grouped == pytest.approx(alone, rel=0.1)
    assert taken_for_40 < 0.7 * grouped


def test_units_are_drawn_together_and_each_as_often_on_average():
    weights = resampled_weights([1, 2, 3, 4], [(1, 3), (2,), (4,)], 0, 3000)
    assert (weights[:, 0] == 1).all()
    assert (weights[0] == weights[2]).all()
    assert (weights[[0, 1, 3]].sum(axis=0) == 3).all()
    assert weights[:, 1:].mean(axis=1) == pytest.approx(np.ones(4), abs=0.06)


def test_nothing_labelled_has_no_score():
    truth, found = data()
    scores = score_held_out({**truth, "annotations": []}, found, [(image,) for image in range(1, 41)])
    assert scores["map"] is None
    assert scores["ap50"] is None


def test_the_score_of_several_detectors_is_their_mean():
    truth, good = data(finds=1.0)
    _, fair = data(finds=0.5)
    units = [(image,) for image in range(1, 41)]
    whole = score_several(truth, [good, fair], units)
    each = [score_several(truth, [one], units)["map"]["score"] for one in (good, fair)]
    assert whole["map"]["score"] == pytest.approx(np.mean(each))
    assert each[0] > each[1]
    assert whole["map"]["low"] < whole["map"]["score"] < whole["map"]["high"]
