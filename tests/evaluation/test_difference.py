"""Whether one kind of images teaches detectors more than another: what is told follows, and how often it is wrong."""

import numpy as np
import pytest
from scipy import stats

from mgral.evaluation.difference import Arm, difference, measured_scores


def arms(first, second, part=0.5):
    return Arm(np.array(first), part), Arm(np.array(second), part)


def test_the_interval_by_hand():
    """Scores 0.4, 0.5, 0.6 have a variance of 0.01: of their mean over halves of one set 0.01 (1/3 + 1)."""
    first, second = Arm(np.array([0.4, 0.5, 0.6]), 0.5), Arm(np.array([0.2, 0.2, 0.2]), 0.5)
    assert first.variance == pytest.approx(0.01 * 4 / 3)
    assert Arm(first.scores, 0.2).variance == pytest.approx(0.01 * (1 / 3 + 0.25))
    found = difference(first, second, 0.0, 40)
    half = stats.t.ppf(0.975, 2) * np.sqrt(0.04 / 3)
    assert (found.value, found.low, found.high) == pytest.approx((0.3, 0.3 - half, 0.3 + half))


def test_images_count_by_their_own_degrees_of_freedom():
    found = difference(*arms([0.5, 0.5], [0.4, 0.4]), 0.0004, 31)
    half = stats.t.ppf(0.975, 30) * 0.02
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half))


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([0.50, 0.51, 0.49, 0.50], [0.40, 0.41, 0.39, 0.40], "better"),
        ([0.40, 0.41, 0.39, 0.40], [0.50, 0.51, 0.49, 0.50], "worse"),
        ([0.50, 0.51, 0.49, 0.50], [0.49, 0.51, 0.50, 0.49], "unknown"),
        ([0.30, 0.70, 0.55, 0.45], [0.40, 0.41, 0.39, 0.40], "unknown"),
        ([0.5, 0.5], [0.5, 0.5], "unknown"),
    ],
)
def test_what_is_told_follows_from_scores(first, second, verdict):
    assert difference(*arms(first, second), 1e-5, 50).verdict == verdict


def simulated(rng, *, count, times, of_set, of_training, of_images, effect=0.0, repeats=5):
    """Return what detectors of parts of two sets score, each picture worth a random amount, and the two sets."""
    controls, chosen = rng.normal(0, of_set, count), rng.normal(effect, of_set, times * count)
    images = rng.normal(0, of_images, 50)

    def scores(pictures, size):
        drawn = [rng.choice(pictures, size, replace=False).mean() for _ in range(repeats)]
        return np.array(drawn) + rng.normal(0, of_training, repeats)

    return scores, chosen, controls, images


@pytest.mark.parametrize(
    "spread",
    [
        {"of_set": 1.0, "of_training": 0.0, "of_images": 0.0},
        {"of_set": 1.0, "of_training": 0.2, "of_images": 1.0},
        {"of_set": 0.0, "of_training": 1.0, "of_images": 0.0},
        {"of_set": 0.0, "of_training": 0.01, "of_images": 1.0},
    ],
)
@pytest.mark.parametrize(("count", "times"), [(24, 4), (10, 1)])
def test_a_strategy_that_is_no_better_is_called_so_once_in_twenty_at_most(spread, count, times):
    """By whatever two equal sets differ: their pictures, the training, or the images that they are measured on."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(1500):
        scores, chosen, controls, images = simulated(rng, count=count, times=times, **spread)
        part = count // 2
        first, second = Arm(scores(chosen, part), part / len(chosen)), Arm(scores(controls, part), part / count)
        first = Arm(first.scores + images.mean(), first.part)
        found = difference(first, second, images.var(ddof=1) / len(images), len(images))
        wrong += found.verdict != "unknown"
    assert wrong / 1500 <= 0.07  # 5 % and three standard deviations


def test_repeats_that_all_learn_the_same_controls_would_tell_what_is_not_so():
    """Why only halves are learnt: the luck of one set of controls is not seen when all detectors learn all of it."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(500):
        scores, chosen, controls, _ = simulated(rng, count=24, times=4, of_set=1.0, of_training=0.2, of_images=0.0)
        differences = scores(chosen, 24) - scores(controls, 24)
        half = stats.t.ppf(0.975, 4) * stats.sem(differences)
        wrong += abs(differences.mean()) > half
    assert wrong / 500 > 0.15


def test_a_better_strategy_is_found_out():
    rng, right = np.random.default_rng(0), 0
    for _ in range(300):
        scores, chosen, controls, _ = simulated(
            rng, count=40, times=4, of_set=1.0, of_training=0.1, of_images=0.0, effect=1.0
        )
        first, second = Arm(scores(chosen, 20), 20 / 160), Arm(scores(controls, 20), 0.5)
        right += difference(first, second, 0.0, 50).verdict == "better"
    assert right / 300 > 0.8


def test_scores_of_detectors_and_the_variance_over_images():
    """Forty images, half of whose objects one kind of detectors finds, and the other all."""
    boxes = [{"image_id": image, "category_id": 1, "bbox": [5.0, 5.0, 10.0, 10.0]} for image in range(1, 41)]
    truth = {
        "images": [{"id": image} for image in range(1, 41)],
        "annotations": boxes,
        "categories": [{"id": 1, "name": "a"}],
    }
    found = [{**one, "score": 0.9} for one in boxes]
    units = [(image,) for image in range(1, 41)]
    first, second, of_images = measured_scores(truth, [found, found], [found[:20], found[20:]], units)
    assert first == pytest.approx(1)
    assert second == pytest.approx(51 / 101)  # COCO's 101 recalls, up to 0.5
    # The mean of the two halves hardly depends on which images are drawn; that of one half does.
    *_, of_one = measured_scores(truth, [found, found], [found[:20], found[:20]], units)
    assert of_one == pytest.approx(0.25 / 40, rel=0.2)
    assert of_images < of_one / 100
