"""The strategy `flip_consistency`: flip consistency."""

import math

import pytest
import torch
from squares_query import eager_detector, squares_query
from told_detector import told_query

from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.interface import Predictions
from mgral.selection.selecting import choose
from mgral.selection.strategies.flip_consistency import inconsistency
from mgral.training.consistency import prediction_distance

CAT, MAYBE, NOTHING = [0.1, 0.8, 0.1], [0.1, 0.5, 0.4], [0.8, 0.1, 0.1]


def symmetric_kl(p, q):
    return 0.5 * sum((a - b) * math.log(a / b) for a, b in zip(p, q, strict=True))


def test_an_image_that_reads_the_same_mirrored_scores_nothing():
    told = [[CAT, NOTHING, CAT], [CAT, MAYBE, MAYBE], [NOTHING] * 3, [CAT, NOTHING, MAYBE]]
    query = told_query(told, budget=4)
    choice = choose("flip_consistency", query)
    # Image 1: the outer two anchors count, and the middle one, which is its own mirror image. Image 3: the outer two.
    apart = symmetric_kl(CAT, MAYBE)
    assert choice.rows.tolist() == [3, 1, 0, 2]
    assert choice.scores == pytest.approx([apart, apart * 2 / 3, 0, 0], rel=1e-5, abs=1e-7)
    assert choice.forward_passes == 8


def test_an_anchor_counts_where_the_unmirrored_image_shows_an_object():
    query = told_query([[CAT, NOTHING]])
    # Mirrored, the second anchor would be a cat, but as the image is it is background.
    assert choose("flip_consistency", query).scores == pytest.approx([symmetric_kl(CAT, NOTHING)], rel=1e-5)


def test_it_is_the_class_part_of_the_training_loss_image_by_image():
    detector = eager_detector(SmallSSDConfig(width=64, height=64, channels=8), classes=3)
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        plain, mirrored = detector.predictions(images), detector.mirror(detector.predictions(images.flip(3)))
        measured = inconsistency(detector, plain, mirrored)
        for image, found in enumerate(measured):
            one, other = (Predictions(*(part[image : image + 1] for part in both)) for both in (plain, mirrored))
            expected = prediction_distance(detector, one, other._replace(offsets=one.offsets))
            torch.testing.assert_close(found, expected)
    assert (measured > 0).all()


def test_a_run_on_a_real_detector_repeats_itself():
    query = squares_query(budget=3)
    first, again = choose("flip_consistency", query), choose("flip_consistency", query)
    assert len(set(first.rows.tolist())) == 3
    assert first.rows.tolist() == again.rows.tolist()
    assert first.scores.tolist() == again.scores.tolist()
    assert first.scores.min() > 0
