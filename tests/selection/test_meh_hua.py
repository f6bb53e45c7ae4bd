"""Evidence of anchors, and its aggregation over an image."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Dirichlet

from mgral.config import EvaluationConfig
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.selection.strategies.meh_hua import (
    Anchors,
    aggregate,
    anchors_of_objects,
    choose_with_zeros,
    concentrations,
    epistemic_uncertainty,
    matched_losses,
)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def test_concentration_falls_with_the_predicted_loss():
    distributions = double([[0.2, 0.8], [0.5, 0.5], [0.1, 0.9]])
    # On map 0 the mean loss is 2; on map 2 there is one anchor, of the mean loss.
    alphas = concentrations(distributions, double([1.0, 3.0, 7.0]), torch.tensor([0, 0, 2]))
    expected = double([[10.0, 40.0], [25 / 3, 25 / 3], [2.5, 22.5]])
    torch.testing.assert_close(alphas, expected)


def test_epistemic_uncertainty_of_a_uniform_dirichlet_distribution():
    # Class probabilities (x, 1 - x) with x uniform have the mean entropy 1 / 2.
    assert epistemic_uncertainty(double([[1.0, 1.0]])).tolist() == pytest.approx([math.log(2) - 0.5])


def test_epistemic_uncertainty_is_what_samples_converge_to():
    alphas = double([[1.0, 2.0, 3.0], [0.5, 20.0, 4.5], [8.0, 8.0, 9.0], [0.01, 0.03, 30.0]])
    torch.manual_seed(0)
    samples = Dirichlet(alphas).sample((50_000,)).clamp_min(1e-300)
    mean = samples.mean(0)
    sampled = -(mean * mean.log()).sum(1) + (samples * samples.log()).sum(2).mean(0)
    torch.testing.assert_close(epistemic_uncertainty(alphas), sampled, rtol=0.01, atol=2e-4)


def test_epistemic_uncertainty_vanishes_with_evidence_whatever_the_classes():
    few, many = epistemic_uncertainty(double([[0.5, 0.5], [5e6, 5e6]]))
    assert few > 0.3
    assert 0 <= many < 1e-6


def test_uncertainty_adds_up_over_classes_and_objects_and_is_the_highest_of_the_maps():
    background, cat, dog = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]
    anchors = [
        # object, map, class, uncertainty
        (0, 0, cat, 0.1),  # object 0, map 0: cat (0.1 + 0.3) / 2, dog 0.4, background 0.1; together 0.7
        (0, 0, cat, 0.3),
        (0, 0, dog, 0.4),
        (0, 0, background, 0.1),
        (0, 2, cat, 0.6),  # object 0, map 2: 0.6, less than map 0
        (1, 1, dog, 0.25),  # object 1: 0.25
        (1, 1, dog, 0.25),
        (3, 0, cat, 0.01),  # object 3: map 0 0.01, map 1 0.02; object 2 has no anchor
        (3, 1, cat, 0.02),
    ]
    objects, maps, classes, uncertainties = zip(*anchors, strict=True)
    given = Anchors(torch.tensor(objects), torch.tensor(maps), double(classes), torch.ones(len(anchors)))
    assert aggregate(double(uncertainties), given) == pytest.approx(0.7 + 0.25 + 0.02)


def test_an_image_without_an_object_has_no_uncertainty():
    none = torch.zeros(0, dtype=torch.int64)
    assert aggregate(double([]), Anchors(none, none, torch.zeros(0, 3), double([]))) == 0


def told(distributions, boxes, **what):
    """Return a detector of two maps, with four anchors and one, and what it says of one image."""
    detector = SimpleNamespace(
        anchors_a_map=[4, 1],
        boxes=lambda offsets: offsets,
        class_probabilities=lambda logits: logits.exp(),
        class_scores=lambda logits: logits.exp()[..., 1:],
        **what,
    )
    detector.find = partial(DenseModel.find, detector)
    return detector, Predictions(torch.tensor(distributions).log()[None], torch.tensor(boxes)[None])


def test_anchors_of_an_object_are_those_whose_boxes_overlap_it():
    distributions = [
        [0.1, 0.8, 0.1],  # finds object 0
        [0.9, 0.05, 0.05],  # background, in its place
        [0.75, 0.2, 0.05],  # found, but with a score below 0.3
        [0.1, 0.2, 0.7],  # the best that is in the place of object 1
        [0.05, 0.9, 0.05],  # finds object 1
    ]
    first, second, third = [0.0, 0.0, 8.0, 8.0], [20.0, 0.0, 28.0, 8.0], [40.0, 0.0, 48.0, 8.0]
    boxes = [first, [0.0, 0.0, 8.0, 6.0], third, [20.0, 0.0, 28.0, 5.0], second]
    detector, predictions = told(distributions, boxes)
    losses = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    (found,) = anchors_of_objects(detector, predictions, losses, EvaluationConfig(nms_iou=0.9))
    # Objects best first: anchor 4, then anchor 0, then anchor 3, which is another class than 4.
    rows = sorted(zip(found.objects.tolist(), found.maps.tolist(), found.losses.tolist(), strict=True))
    assert rows == [(0, 0, 4.0), (0, 1, 5.0), (1, 0, 1.0), (1, 0, 2.0), (2, 0, 4.0), (2, 1, 5.0)]
    assert found.distributions[found.losses == 2.0][0].tolist() == pytest.approx([0.9, 0.05, 0.05])


def test_an_image_in_which_nothing_is_found_has_no_anchors():
    detector, predictions = told([[0.98, 0.01, 0.01]] * 5, [[0.0, 0.0, 8.0, 8.0]] * 5)
    (found,) = anchors_of_objects(detector, predictions, torch.ones(1, 5), EvaluationConfig())
    assert len(found.objects) == 0
    alphas = concentrations(found.distributions, found.losses, found.maps)
    assert aggregate(epistemic_uncertainty(alphas), found) == 0


def test_the_head_learns_from_the_cross_entropy_of_matched_anchors():
    distributions = [[0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.75, 0.2, 0.05], [0.1, 0.2, 0.7], [0.05, 0.9, 0.05]]
    # Anchor 2 is near a box and does not count, as RetinaNet has it.
    matched = torch.tensor([[1, -1, -2, 0, 0]])
    detector, predictions = told(distributions, [[0.0] * 4] * 5, match=lambda targets: matched)
    targets = Targets(torch.zeros(1, 2, 4), torch.tensor([[1, 0]]))
    losses, (image, anchor) = matched_losses(detector, predictions, targets)
    assert (image.tolist(), anchor.tolist()) == ([0, 0, 0], [0, 3, 4])
    # Box 0 is of the second class, box 1 of the first; column 0 is the background.
    assert losses.tolist() == pytest.approx([-math.log(0.8), -math.log(0.7), -math.log(0.05)], rel=1e-5)


def chosen(scores, budget, seed=0):
    choice = choose_with_zeros(np.array(scores), budget, np.random.default_rng(seed), 0)
    assert len(set(choice.rows.tolist())) == budget
    assert choice.scores.tolist() == [scores[row] for row in choice.rows]
    return choice.rows.tolist()


def test_fifteen_per_cent_are_images_without_an_object_drawn_at_random():
    scores = [0.0] * 30 + list(range(1, 71))
    rows = chosen(scores, 20)
    assert rows[:17] == list(range(99, 82, -1))
    assert all(row < 30 for row in rows[17:])
    assert {frozenset(chosen(scores, 20, seed)[17:]) for seed in range(5)} != {frozenset(rows[17:])}
    counts = np.bincount(np.concatenate([chosen(scores, 20, seed)[17:] for seed in range(300)]), minlength=30)
    assert counts.min() > 10


def test_where_few_score_zero_the_budget_goes_to_the_others():
    assert chosen([0.0, 1.0, 0.0] + [2.0] * 30, 20)[-2:] in ([0, 2], [2, 0])
    assert chosen([3.0, 1.0, 2.0], 2) == [0, 2]


def test_where_few_score_above_zero_the_budget_is_filled_up_at_random():
    rows = chosen([0.0] * 50 + [1.0, 2.0], 20)
    assert rows[:2] == [51, 50]
