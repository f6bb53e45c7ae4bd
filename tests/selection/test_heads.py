"""Heads on the frozen detector, and the strategies that train one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from squares_query import squares_query

from mgral.models.build import build_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.selection import heads
from mgral.selection.heads import AnchorHead, frozen_detector_and_images, train_head
from mgral.selection.query import choose

STRATEGIES = ("meh_hua", "head_discrepancy", "al_mdn", "llal")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_with_a_head_chooses_the_budget_and_the_same_again(monkeypatch, strategy):
    monkeypatch.setattr(heads, "ITERATIONS", 3)
    query = squares_query()
    choice, again = choose(strategy, query), choose(strategy, query)
    assert len(set(choice.rows.tolist())) == 4
    assert choice.rows.tolist() == again.rows.tolist()
    assert choice.scores.tolist() == again.scores.tolist()
    assert choice.forward_passes == 3 * 5 + 7
    other = choose(strategy, replace(query, cycle=1))
    assert other.scores.tolist() != choice.scores.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_boxes_of_the_pool_are_not_looked_at(monkeypatch, strategy):
    monkeypatch.setattr(heads, "ITERATIONS", 3)
    query = squares_query()
    count = len(query.labelled)
    none, no_labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    blind = replace(
        query.dataset,
        boxes=query.dataset.boxes[:count] + (none,) * len(query.pool),
        labels=query.dataset.labels[:count] + (no_labels,) * len(query.pool),
    )
    assert choose(strategy, replace(query, dataset=blind)).scores.tolist() == choose(strategy, query).scores.tolist()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("labelled", [1, 3])
def test_labelled_images_without_a_box_are_no_obstacle(monkeypatch, strategy, labelled):
    monkeypatch.setattr(heads, "ITERATIONS", 3)
    query = squares_query(labelled=labelled)
    count = len(query.dataset.boxes)
    empty = replace(
        query.dataset, boxes=(np.zeros((0, 4), np.float32),) * count, labels=(np.zeros(0, np.int64),) * count
    )
    assert len(choose(strategy, replace(query, dataset=empty)).rows) == 4


def test_the_detector_stays_as_it_is_while_the_loss_of_its_head_falls():
    query = squares_query()
    detector, images = frozen_detector_and_images(query)
    before = {name: values.clone() for name, values in detector.state_dict().items()}
    losses = []

    def build(seen):
        return AnchorHead(seen.maps, detector.anchors_a_cell, torch.zeros(2))

    def loss(head, seen):
        found = detector.loss(seen.predictions._replace(logits=head(seen.maps)), seen.targets)
        losses.append(found.item())
        return found

    head, shown = train_head(query, detector, images, "test", build, loss)
    assert (len(losses), shown) == (heads.ITERATIONS, heads.ITERATIONS * 5)
    # The loss of boxes is a part that stays.
    assert np.mean(losses[-20:]) < losses[0] - 1
    assert not detector.training
    assert not head.training
    for name, values in detector.state_dict().items():
        assert torch.equal(values, before[name])


def test_a_head_with_the_filters_of_the_detector_predicts_what_it_predicts():
    detector = build_detector(SmallSSDConfig(width=64, height=48, channels=4), 3, seed=0).eval()
    own = detector.ssd.head.classification_head.module_list
    _agrees(detector, own)


def test_a_head_on_the_class_maps_of_retinanet_predicts_what_it_predicts():
    detector = build_detector(
        RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128, weights=None), 3, seed=0
    ).eval()
    _agrees(detector, [detector.retinanet.head.classification_head.cls_logits] * 5)


@torch.no_grad()
def _agrees(detector, convolutions):
    images = torch.rand(2, 3, *detector.size, generator=torch.Generator().manual_seed(0)) * 255
    maps = detector.maps(images)
    expected = detector.predict(maps).logits
    head = AnchorHead(detector.class_maps(maps), detector.anchors_a_cell, torch.zeros(expected.shape[2]))
    for one, other in zip(head.convolutions, convolutions, strict=True):
        one.load_state_dict(other.state_dict())
    torch.testing.assert_close(head(detector.class_maps(maps)), expected)
