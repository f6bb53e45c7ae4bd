"""Mixtures of Gaussians, and what is uncertain by them."""

import math

import pytest
import torch
from head_of_query import query_with_head
from squares_query import squares_query

from mgral.models.build import build_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.suppression import Found
from mgral.selection.selecting import choose
from mgral.selection.strategies import al_mdn
from mgral.selection.strategies.al_mdn import (
    BOX_OUTPUTS,
    COMPONENTS,
    NO_OBJECT,
    Mixture,
    box_loss,
    box_mixture,
    class_mixture,
    matched_box_loss,
    mixed_logits,
    most_uncertain,
    uncertainties,
)

CLASSES = 3
CONFIGS = [
    SmallSSDConfig(width=64, height=64, channels=4),
    RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128, weights=None),
]


def test_uncertainty_is_the_mean_variance_and_the_variance_of_the_means():
    mixture = Mixture(torch.tensor([[1.0], [5.0]]), torch.tensor([[0.2], [0.6]]), torch.tensor([[0.25], [0.75]]))
    assert mixture.aleatoric().tolist() == pytest.approx([0.25 * 0.2 + 0.75 * 0.6])
    # Their mean is 4.
    assert mixture.epistemic().tolist() == pytest.approx([0.25 * 9 + 0.75 * 1])


def test_outputs_are_shared_out_to_components_before_anything_else():
    logits = CLASSES + 1
    outputs = torch.zeros(COMPONENTS, 12 + 2 * logits + 1)
    outputs[2, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    outputs[2, 8] = math.log(5)
    outputs[1, 12 : 12 + logits] = 7
    outputs[1, 12 + logits] = math.log(3)
    outputs[3, -1] = math.log(2)
    boxes, classes = box_mixture(outputs.flatten()), class_mixture(outputs.flatten())
    assert boxes.means[2].tolist() == [1, 2, 3, 4]
    assert boxes.weights[:, 0].tolist() == pytest.approx([1 / 8, 1 / 8, 5 / 8, 1 / 8])
    assert boxes.weights[:, 1].tolist() == pytest.approx([1 / 4] * 4)
    assert classes.means[1].tolist() == [7] * logits
    assert classes.variances[1, :2].tolist() == pytest.approx([0.75, 0.5])
    assert classes.weights[:, 0].tolist() == pytest.approx([1 / 5, 1 / 5, 1 / 5, 2 / 5])


def test_loss_of_boxes_is_the_negative_log_likelihood_of_the_mixture():
    means, variances = torch.tensor([0.0, 2.0]), torch.tensor([0.5, 0.25])
    weights = torch.tensor([0.3, 0.7])
    boxes = Mixture(*(part[None, :, None].expand(1, 2, 4) for part in (means, variances, weights)))
    density = 0.3 * math.exp(-1 / (2 * 0.5)) / math.sqrt(2 * math.pi * 0.5)
    density += 0.7 * math.exp(-1 / (2 * 0.25)) / math.sqrt(2 * math.pi * 0.25)
    assert box_loss(boxes, torch.ones(1, 4)).tolist() == pytest.approx([-4 * math.log(density)], rel=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_mixed_logits_stand_for_the_mixture_of_class_probabilities(config):
    detector = build_detector(config, CLASSES, seed=0)
    length = CLASSES + isinstance(config, SmallSSDConfig)
    generator = torch.Generator().manual_seed(0)
    means, variances, normal = torch.rand(3, 2, 5, COMPONENTS, length, generator=generator)
    weights = torch.rand(2, 5, COMPONENTS, 1, generator=generator).softmax(-2)
    mixed = mixed_logits(detector, Mixture(means, variances, weights), normal)
    expected = (weights * detector.class_probabilities(means + variances.sqrt() * normal)).sum(-2)
    assert mixed.shape == (2, 5, length)
    torch.testing.assert_close(detector.class_probabilities(mixed), expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_outputs_of_an_untrained_network_that_are_huge_have_a_finite_gradient(config):
    detector = build_detector(config, CLASSES, seed=0)
    outputs = COMPONENTS * (BOX_OUTPUTS + 2 * (CLASSES + isinstance(config, SmallSSDConfig)) + 1)
    huge = (1e4 * torch.randn(20, outputs, generator=torch.Generator().manual_seed(0))).requires_grad_()
    classes = class_mixture(huge)
    loss = mixed_logits(detector, classes, torch.randn_like(classes.means)).sum()
    (loss + box_loss(box_mixture(huge), torch.zeros(20, 4)).sum()).backward()
    assert huge.grad.isfinite().all()


def test_objects_have_their_anchors_uncertainty_and_unlikely_ones_none():
    detector = build_detector(CONFIGS[0], CLASSES, seed=0)
    logits = CLASSES + 1
    outputs = torch.zeros(6, COMPONENTS, 12 + 2 * logits + 1)
    outputs[4, :, 4:8] = torch.tensor([0.0, 2.0, -1.0, 0.0])  # variances of the box
    outputs[4, :2, 1] = 1.0  # means of one coordinate: half of them 1, half 0
    outputs[4, :, 12 + logits + 3] = 3.0  # variance of class 2's logit
    outputs[4, 0, 12 + 3] = 50.0  # one component of four is sure of class 2
    found = Found(
        torch.zeros(2, 4),
        torch.tensor([0.9, 0.4]),
        torch.tensor([2, 0]),
        torch.zeros(2, logits),
        torch.tensor([4, 1]),
    )
    (only,) = uncertainties(detector, outputs.flatten(1), found)
    spread = 0.25 * 0.75 * (1 - 1 / 4) ** 2  # a quarter of the components at 1, the rest at 1 / 4
    sigmoid = [1 / (1 + math.exp(-value)) for value in (2.0, 3.0)]
    assert only.tolist() == pytest.approx([sigmoid[0], 0.25, sigmoid[1], spread], rel=1e-5)
    none = Found(*(part[:0] for part in found))
    assert uncertainties(detector, outputs.flatten(1), none).shape == (0, 4)


def test_the_score_of_an_image_is_its_objects_highest_of_any_uncertainty():
    steady = [1.0, 5.0, 0.1, 0.2]
    found = [
        torch.tensor([steady, steady]),
        torch.zeros(0, 4),
        torch.tensor([steady, [1.0, 5.0, 0.1, 0.4]]),
        torch.tensor([[3.0, 5.0, 0.1, 0.2]]),
    ]
    scores = most_uncertain(found)
    # Of five objects one is above the others: by 2 standard deviations above the mean, whatever the scale.
    assert scores.tolist() == pytest.approx([-0.0, NO_OBJECT, 2.0, 2.0], abs=1e-4)
    assert most_uncertain([torch.zeros(0, 4)] * 2).tolist() == [NO_OBJECT, NO_OBJECT]


def test_two_components_learn_boxes_that_go_either_way():
    """Then it is the means that differ, and what is left to the variances is the labels' noise."""
    means = torch.tensor([[[0.1] * 4, [-0.1] * 4]]).requires_grad_()
    variances, weights = (torch.zeros(1, 2, 4).requires_grad_() for _ in range(2))
    goal = torch.randn(400, 4, generator=torch.Generator().manual_seed(0)) * 0.2
    goal[::2] += 1
    goal[1::2] -= 1
    optimizer = torch.optim.Adam([means, variances, weights], 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        mixture = Mixture(means, variances.sigmoid(), weights.softmax(-2))
        box_loss(Mixture(*(part.expand(400, 2, 4) for part in mixture)), goal).mean().backward()
        optimizer.step()
    assert mixture.epistemic().flatten().tolist() == pytest.approx([1] * 4, rel=0.1)
    assert mixture.aleatoric().flatten().tolist() == pytest.approx([0.04] * 4, rel=0.2)


def test_a_head_learns_the_boxes_of_the_labelled_images(monkeypatch):
    query = squares_query(images=12, labelled=6)
    losses = []

    def noted(*given):
        losses.append(matched_box_loss(*given))
        return losses[-1]

    monkeypatch.setattr(al_mdn, "matched_box_loss", noted)
    query_with_head(query, "al_mdn", iterations=150)
    assert torch.stack(losses[-20:]).mean() < losses[0] / 2


def test_images_without_an_object_come_last(monkeypatch):
    scores = torch.tensor([NO_OBJECT, 1.0, NO_OBJECT, 2, 0, 3])
    monkeypatch.setattr(al_mdn, "most_uncertain", lambda _: scores)
    choice = choose("al_mdn", query_with_head(squares_query(images=12, labelled=6, budget=6), "al_mdn", 1))
    assert choice.rows[:4].tolist() == [5, 3, 1, 4]
    assert sorted(choice.rows[4:]) == [0, 2]
