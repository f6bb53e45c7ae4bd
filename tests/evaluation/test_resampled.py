"""Average precision on resamples: COCO's own where each image counts once, and where images are there twice."""

import numpy as np
import pytest

from mgral.evaluation.coco import score_detections
from mgral.evaluation.resampled import Matched, match_class

IMAGES = list(range(10, 40))
CLASSES = (3, 5, 9)


def made(seed, digits=2):
    """Return a data set, and detections that find about half of it, with scores that often are equal."""
    rng = np.random.default_rng(seed)
    annotations, found = [], []
    for image in IMAGES:
        for _ in range(rng.integers(0, 6)):
            box = [*rng.uniform(0, 60, 2), *rng.uniform(8, 40, 2)]
            category = int(rng.choice(CLASSES[:2]))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": [float(side) for side in box],
                    "area": float(box[2] * box[3]),
                    "iscrowd": 0,
                }
            )
            for _ in range(rng.integers(0, 3)):
                moved = [float(side) for side in np.array(box) + rng.normal(0, 3, 4)]
                found.append(result(image, category, moved, rng, digits))
        for _ in range(rng.integers(0, 4)):
            box = [float(side) for side in (*rng.uniform(0, 60, 2), *rng.uniform(8, 40, 2))]
            found.append(result(image, int(rng.choice(CLASSES)), box, rng, digits))
    truth = {
        "images": [{"id": image, "width": 100, "height": 100, "file_name": f"{image}"} for image in IMAGES],
        "annotations": annotations,
        "categories": [{"id": one, "name": str(one)} for one in CLASSES],
    }
    return truth, found


def result(image, category, box, rng, digits):
    return {
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "score": round(float(rng.uniform(0.05, 1)), digits),
    }


def scores(truth, found, images, weights):
    """Return AP by class and overlap, [3, 10, resamples]."""
    matched = [match_class(truth["annotations"], found, images, one) for one in CLASSES]
    return np.array([one.average_precision(weights) for one in matched])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("digits", [1, 5])
def test_without_resampling_it_is_cocos(seed, digits):
    truth, found = made(seed, digits)
    own = scores(truth, found, IMAGES, np.ones((len(IMAGES), 1)))[..., 0]
    expected = score_detections(truth, found, IMAGES)
    for row, one in zip(own, expected["per_class"], strict=True):
        if one["boxes"]:
            np.testing.assert_allclose([row.mean(), row[0]], [one["map"], one["ap50"]], rtol=0, atol=1e-9)
        else:
            assert np.isnan(row).all()
            assert one["map"] is None
    np.testing.assert_allclose(
        [np.nanmean(own), np.nanmean(own[:, 0])], [expected["map"], expected["ap50"]], rtol=0, atol=1e-9
    )


def test_an_image_that_counts_twice_is_there_twice():
    truth, found = made(7, digits=5)
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(IMAGES), (3, len(IMAGES)))
    weights = np.array([np.bincount(one, minlength=len(IMAGES)) for one in drawn], dtype=np.float64).T
    own = scores(truth, found, IMAGES, weights)
    for resample, rows in enumerate(drawn):
        copies = list(enumerate(sorted(rows), start=1))

        def copied(entries, copies=copies):
            return [
                {**one, "id": place, "image_id": number}
                for place, (number, one) in enumerate(
                    ((number, one) for number, row in copies for one in entries if one["image_id"] == IMAGES[row]), 1
                )
            ]

        images = [{"id": number, "width": 100, "height": 100, "file_name": ""} for number, _ in copies]
        repeated = {**truth, "images": images, "annotations": copied(truth["annotations"])}
        expected = score_detections(repeated, copied(found), [number for number, _ in copies])
        for row, one in zip(own[..., resample], expected["per_class"], strict=True):
            if one["boxes"]:
                np.testing.assert_allclose([row.mean(), row[0]], [one["map"], one["ap50"]], rtol=0, atol=1e-9)


def test_only_the_best_hundred_of_an_image_count():
    truth, _ = made(1)
    box = truth["annotations"][0]
    wrong = [
        {"image_id": box["image_id"], "category_id": box["category_id"], "bbox": [90, 90, 5, 5], "score": 0.9}
    ] * 100
    late = {**wrong[0], "bbox": box["bbox"], "score": 0.5}
    matched = match_class(truth["annotations"], [*wrong, late], IMAGES, box["category_id"])
    assert not matched.right.any()
    matched = match_class(truth["annotations"], [*wrong[1:], late], IMAGES, box["category_id"])
    assert matched.right[0].sum() == 1


def test_nothing_found_and_nothing_to_find():
    truth, _ = made(1)
    weights = np.ones((len(IMAGES), 2))
    assert (match_class(truth["annotations"], [], IMAGES, 3).average_precision(weights) == 0).all()
    assert np.isnan(match_class([], [], IMAGES, 3).average_precision(weights)).all()


def drawn(rng, images):
    """Return the detections of images drawn at random: some are harder, and in most there is something wrong."""
    scores, hits, rows = [], [], []
    boxes, harder = rng.poisson(2, images), rng.beta(2, 2, images)
    for image in range(images):
        found, wrong = rng.binomial(boxes[image], harder[image]), rng.poisson(1.5)
        scores += [*rng.uniform(0.3, 1, found), *rng.uniform(0, 0.8, wrong)]
        hits += [True] * found + [False] * wrong
        rows += [image] * (found + wrong)
    order = np.argsort(-np.array(scores), kind="stable")
    return Matched(np.array(rows)[order], np.array([hits])[:, order], boxes)


def test_intervals_cover_the_score_of_all_images_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth = drawn(rng, 20_000).average_precision(np.ones((20_000, 1))).item()
    covered = []
    for _ in range(100):
        weights = rng.multinomial(60, np.full(60, 1 / 60), size=300).T.astype(np.float64)
        low, high = np.quantile(drawn(rng, 60).average_precision(weights), (0.025, 0.975))
        covered.append(low <= truth <= high)
    assert 0.88 <= np.mean(covered) <= 0.99
