"""The module that predicts losses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from head_of_query import query_with_head
from squares_query import CONFIG
from told_detector import SIDE, told_query
from torch import nn

from mgral.data.images import Images
from mgral.models.build import build_detector
from mgral.models.interface import Predictions, Targets
from mgral.selection.selecting import choose
from mgral.selection.strategies.llal import LossPrediction, image_losses, ranking_loss


def test_ranking_loss_of_pairs_from_both_ends():
    predicted = torch.tensor([2.0, 1.0, 4.0, 0.5, 0.0])
    losses = torch.tensor([5.0, 1.0, 9.0, 2.0, 3.0])
    # Pairs: (2, 0) in the right order and 2 apart, so 0; (1, 0.5) in the wrong order, so 1 + 0.5. The third is alone.
    assert ranking_loss(predicted, losses).item() == pytest.approx((0 + 1.5) / 2)


def test_ranking_loss_of_a_right_pair_that_is_too_close_is_what_lacks_to_the_margin():
    assert ranking_loss(torch.tensor([0.2, 0.6]), torch.tensor([1.0, 2.0])).item() == pytest.approx(0.6)


def test_ranking_loss_raises_what_has_the_higher_loss():
    predicted = torch.zeros(4, requires_grad=True)
    ranking_loss(predicted, torch.tensor([3.0, 1.0, 2.0, 8.0])).backward()
    assert predicted.grad.tolist() == [0.5, 0.5, -0.5, -0.5]


def test_one_image_has_nothing_to_be_ranked_with():
    assert ranking_loss(torch.ones(1), torch.ones(1)) == 0


def test_the_loss_of_an_image_is_that_of_a_batch_of_it():
    detector = build_detector(CONFIG, 2, seed=0).eval()
    with torch.no_grad():
        predictions = detector.predictions(
            torch.rand(3, 3, *detector.size, generator=torch.Generator().manual_seed(0)) * 255
        )
    boxes = torch.tensor([[[4.0, 4, 30, 30], [20, 20, 60, 60]], [[10, 10, 50, 20], [0, 0, 0, 0]], [[0] * 4] * 2])
    labels = torch.tensor([[0, 1], [1, -1], [-1, -1]])
    losses = image_losses(detector, predictions, Targets(boxes, labels))
    for i, count in enumerate((2, 1, 0)):
        alone = Targets(boxes[i : i + 1, :count], labels[i : i + 1, :count])
        expected = detector.loss(Predictions(*(part[i : i + 1] for part in predictions)), alone)
        assert losses[i].item() == pytest.approx(expected.item())
    assert len(set(losses.tolist())) == 3


def test_the_module_averages_each_map_by_itself():
    head = LossPrediction([3, 5])
    maps = [torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)]
    predicted = head(maps)
    assert predicted.shape == (2,)
    shuffled = [one.flatten(2)[..., torch.randperm(one.shape[2] * one.shape[3])].view_as(one) for one in maps]
    torch.testing.assert_close(head(shuffled), predicted)


class Toy(nn.Module):
    """A detector whose loss is `sign` times the brightness of the image."""

    device = torch.device("cpu")

    def __init__(self, sign):
        super().__init__()
        self.sign = sign

    def maps(self, images):
        return [images.float() / 255]

    def predict(self, maps):
        return Predictions(self.sign * maps[0].mean((1, 2, 3))[:, None, None], torch.zeros(len(maps[0]), 1, 4))

    def loss(self, predictions, targets):
        return predictions.logits.mean()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_images_like_those_with_a_high_loss_are_chosen(sign):
    query = told_query([[[1.0, 0.0]]] * 24, labelled=range(0, 24, 2), budget=12)
    brightness = np.random.default_rng(0).permutation(24) * 10
    pixels = np.tile(brightness.astype(np.uint8)[:, None, None, None], (SIDE, SIDE, 3))
    images = Images(pixels, query.dataset.sizes, query.images.canvas)
    query = replace(query, images=images, detector=Toy(sign))
    query = query_with_head(query, "llal", iterations=100)
    order = sign * brightness[query.pool[choose("llal", query).rows]]
    assert order.tolist() == sorted(order, reverse=True)
