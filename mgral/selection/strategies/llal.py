"""Strategy `llal`: the images for which a small module predicts the highest loss of the detector.

Source
------
Yoo and Kweon, *Learning loss for active learning*, CVPR 2019.

Formula
-------
The score is the predicted loss l'. The module is trained on pairs of images i, j of a batch with the losses l (their
equation 2):

    max(0, 1 - sign(l_i - l_j) (l'_i - l'_j))

Pairs are image i and n - 1 - i, as in the published implementation of others. So the module learns nothing where
batches, or their parts with `training.accumulate`, have one image.

Differences
-----------
The module is trained together with the detector, on the loss of each image in each iteration, as theirs is (see
`heads`). Their gradient flows into the network for a part of the training; here it never does, because all strategies
share the detector. They choose from 10,000 images drawn from the pool; here the complete pool is used.
"""

import torch
from torch import Tensor, nn

from mgral.config.registry import register, register_head
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.selection.heads import Seen, with_head
from mgral.selection.inference import pool_chunks
from mgral.selection.query import Choice, Query

WIDTH = 128
"""Features made of each feature map, as in the paper."""
MARGIN = 1.0
"""Least difference between the predictions of a pair, as in the paper."""


class LossPrediction(nn.Module):
    """The paper's module (section 3.2): a layer for the mean of each map, then one layer for all."""

    def __init__(self, channels: list[int]) -> None:
        """Take the channels of each map."""
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, WIDTH) for inputs in channels)
        self.output = nn.Linear(WIDTH * len(channels), 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return the predicted losses of images, [B], on a scale of their own: only their order is learnt."""
        features = [
            layer(feature_map.mean((2, 3))).relu() for layer, feature_map in zip(self.layers, maps, strict=True)
        ]
        predicted: Tensor = self.output(torch.cat(features, dim=1))
        return predicted.flatten()


@register("llal", "loss predicted for the image", requires=("dense", "head"))
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the predicted loss."""
    detector, images, head = with_head(query)
    predicted = [head(detector.maps(inputs)) for _, inputs in pool_chunks(query, detector, images, "llal")]
    return Choice.best(torch.cat(predicted).cpu().numpy(), query.budget, len(query.pool))


def build(detector: DenseModel, seen: Seen) -> LossPrediction:
    """Return the head, untrained."""
    return LossPrediction([feature_map.shape[1] for feature_map in seen.maps])


def loss(head: LossPrediction, detector: DenseModel, seen: Seen) -> Tensor:
    """Return the head's loss of a batch, a scalar."""
    return ranking_loss(head(seen.maps), image_losses(detector, seen.predictions, seen.targets))


register_head("llal", build, loss)


def image_losses(detector: DenseModel, predictions: Predictions, targets: Targets) -> Tensor:
    """Return the detector's loss of each image alone, [B]."""
    images = range(len(predictions.logits))
    return torch.stack(
        [
            detector.loss(
                Predictions(*(tensor[i : i + 1] for tensor in predictions)),
                Targets(*(tensor[i : i + 1] for tensor in targets)),
            )
            for i in images
        ]
    )


def ranking_loss(predicted: Tensor, losses: Tensor) -> Tensor:
    """Return the paper's loss of predictions [B] (equation 2), given the true losses [B].

    Pairs are the first image and the last, the second and the last but one, and so on, as in the implementation of
    others that is published (Mephisto405); of an odd number the middle one is left out. Of each pair that with the
    higher loss is to be predicted higher, by a margin.
    """
    pairs = len(predicted) // 2
    difference = (predicted - predicted.flip(0))[:pairs]
    sign = torch.where(losses > losses.flip(0), 1.0, -1.0)[:pairs]
    return (MARGIN - sign * difference).relu().sum() / max(1, pairs)
