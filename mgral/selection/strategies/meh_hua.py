"""Strategy `meh_hua`: the images with the most epistemic uncertainty about their objects.

A head (MEH) predicts the classification loss of each anchor, which gives a Dirichlet distribution over its class
probabilities. Hierarchical aggregation (HUA) combines the uncertainties.

Source
------
Park, Choi, Kim, Han and Moon, *Active learning for object detection with evidential deep learning and hierarchical
uncertainty aggregation*, ICLR 2023.

Formula
-------
For an anchor with class probabilities p and predicted loss l:

    a = 25 p mean(l) / l,  u = H(mean of the Dirichlet distribution of a) - E[H]

with the mean of l over the anchors of its map, and the entropy H. The aggregation is: the mean of u over the anchors
of each object, map and most probable class; the sum over the classes; the maximum over the maps; the sum over the
objects. 15 % of the budget are images without an object, drawn at random.

Differences
-----------
The implementation follows their published code for SSD, whose classes include the background, as here. It has an
object for each likely class of an anchor, and leaves out anchors and maps without a likely class. As in their code
for RetinaNet, the head is trained on anchors that are matched to a box, by the squared error. Trained on all anchors,
as in their code for SSD, it mostly learns to recognise background and little about anchors on objects. On BCCD, the
rank correlation of its prediction with the loss of small_ssd on likely anchors of unlabelled images was -0.05 with
all anchors, and 0.39 with matched anchors.

It differs in that:

- the head is trained together with the detector, on the feature maps that classes are predicted from, without a
  gradient into them (see `heads`);
- its output is a softplus, not a ReLU, for which a predicted loss of zero has no gradient;
- the expected entropy of a Dirichlet distribution is computed in closed form. They draw 500 samples, whose mean
  converges to it and scatters by 0.6 %;
- the images without an object that are chosen at random are drawn without replacement.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from mgral.artefacts.seeds import derive_seed
from mgral.config import EvaluationConfig
from mgral.config.registry import register, register_head
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.selection.heads import AnchorHead, Seen, with_head
from mgral.selection.inference import find_boxes, pool_chunks
from mgral.selection.query import Choice, Query, all_equal, highest
from mgral.selection.strategies.entropy import entropy

CONCENTRATION = 25.0
"""Sum of the concentration parameters of an anchor whose predicted loss is the mean."""
COUNTED_SCORE = 0.3
"""Score from which a detection is an object. Anchors count whose likeliest class, be it the background, is above it,
on maps where one has an object's class above it."""
OBJECT_IOU = 0.5
"""Overlap from which the box of an anchor belongs to an object."""
CANDIDATES_PER_MAP = 1000
"""Likeliest anchors of each map that are looked at."""
ZERO_PERCENT = 15
"""Percent of the budget for images without an object."""
SMALLEST_LOSS = 1e-7
"""Added to predicted losses, which are divided by."""


class Anchors(NamedTuple):
    """The anchors that belong to an image's objects; one that belongs to two is there twice."""

    objects: Tensor
    """int64 [n]: which object."""
    maps: Tensor
    """int64 [n]: which map of the detector."""
    distributions: Tensor
    """float64 [n, C + 1]: class probabilities, of the background first."""
    losses: Tensor
    """float64 [n]: predicted, positive."""


@register("meh_hua", "epistemic uncertainty of a loss-predicting head, object by object", requires=("dense", "head"))
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the aggregated uncertainty, and some images without an object at random."""
    detector, images, head = with_head(query)
    scores = []
    for _, inputs in pool_chunks(query, detector, images, "meh_hua"):
        maps = detector.maps(inputs)
        losses = predicted_losses(head, detector.class_maps(maps))
        for anchors in anchors_of_objects(detector, detector.predict(maps), losses, query.config.evaluation):
            alphas = concentrations(anchors.distributions, anchors.losses, anchors.maps)
            scores.append(aggregate(epistemic_uncertainty(alphas), anchors))
    rng = np.random.default_rng(derive_seed(query.seed, "meh_hua images without an object", query.cycle))
    return choose_with_zeros(np.array(scores), query.budget, rng, len(query.pool))


def build(detector: DenseModel, seen: Seen) -> AnchorHead:
    """Return the head, untrained."""
    losses, _ = matched_losses(detector, seen.predictions, seen.targets)
    # Where softplus gives the mean loss; without a box it is 1.
    bias = (losses.mean() if len(losses) else losses.new_ones(())).clamp_min(SMALLEST_LOSS).expm1().log()
    return AnchorHead(detector.class_maps(seen.maps), detector.anchors_a_cell, bias[None])


def loss(head: AnchorHead, detector: DenseModel, seen: Seen) -> Tensor:
    """Return the head's loss of a batch, a scalar."""
    losses, matched = matched_losses(detector, seen.predictions, seen.targets)
    error = predicted_losses(head, detector.class_maps(seen.maps))[matched] - losses
    return error.square().sum() / max(1, len(error))


register_head("meh_hua", build, loss)


def matched_losses(
    detector: DenseModel, predictions: Predictions, targets: Targets
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the cross-entropy -log p(class) of the n anchors with a box, [n], and their images and numbers, [n]."""
    boxes = detector.match(targets)
    image, anchor = (boxes >= 0).nonzero(as_tuple=True)
    labels = targets.labels[image, boxes[image, anchor]]
    probabilities = detector.class_probabilities(predictions.logits[image, anchor])
    return -probabilities.gather(1, labels[:, None] + 1)[:, 0].clamp_min(1e-12).log(), (image, anchor)


def predicted_losses(head: AnchorHead, class_maps: list[Tensor]) -> Tensor:
    """Return the head's prediction of each anchor's loss, positive, [B, A]."""
    return F.softplus(head(class_maps))[..., 0] + SMALLEST_LOSS


def anchors_of_objects(
    detector: DenseModel, predictions: Predictions, losses: Tensor, config: EvaluationConfig
) -> list[Anchors]:
    """Return the anchors of each image whose boxes overlap an object's, on the CPU; losses are [B, A]."""
    sizes = detector.anchors_a_map
    boxes = detector.boxes(predictions.offsets)
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    anchors_by_image = []
    for image, objects in enumerate(find_boxes(detector, predictions, config)):
        object_boxes = objects.boxes[objects.scores > COUNTED_SCORE]
        probabilities = detector.class_probabilities(predictions.logits[image])
        sure = probabilities.amax(1) > COUNTED_SCORE
        anchors_by_map = []
        for start, scores in zip(starts, torch.split(probabilities[:, 1:].amax(1), sizes), strict=True):
            likeliest = scores.topk(min(CANDIDATES_PER_MAP, len(scores)))
            map_anchors = start + likeliest.indices
            anchors_by_map.append(map_anchors[sure[map_anchors] & (likeliest.values[0] > COUNTED_SCORE)])
        levels = torch.cat([torch.full_like(part, level) for level, part in enumerate(anchors_by_map)])
        candidates = torch.cat(anchors_by_map)
        place, owner = (box_iou(boxes[image, candidates], object_boxes) > OBJECT_IOU).nonzero(as_tuple=True)
        anchors = candidates[place]
        parts = owner, levels[place], probabilities[anchors].double(), losses[image, anchors].double()
        anchors_by_image.append(Anchors(*(part.cpu() for part in parts)))
    return anchors_by_image


def concentrations(distributions: Tensor, losses: Tensor, maps: Tensor) -> Tensor:
    """Return the Dirichlet parameters 25 p mean(lambda) / lambda of anchors, [n, C + 1].

    The mean is over those of the same map of the image, as in the published code.
    """
    count = torch.bincount(maps)
    mean = torch.bincount(maps, losses) / count
    return CONCENTRATION * distributions * (mean[maps] / losses)[:, None]


def epistemic_uncertainty(alphas: Tensor) -> Tensor:
    """Return H(mean) - E[H] of Dirichlet distributions with parameters [n, C + 1], in nats, [n].

    H is the entropy of class probabilities, and E[H] = psi(a0 + 1) - sum_c a_c / a0 psi(a_c + 1), with a0 the sum of
    the parameters.
    """
    total = alphas.sum(1, keepdim=True)
    mean = alphas / total
    expected = torch.digamma(total[:, 0] + 1) - (mean * torch.digamma(alphas + 1)).sum(1)
    return (entropy(mean) - expected).clamp_min(0)


def aggregate(uncertainties: Tensor, anchors: Anchors) -> float:
    """Return the uncertainty of an image, given those of its anchors, [n]; 0 without any.

    The mean of the anchors of an object, a map and a likeliest class; of these the sum over the classes, which may
    be the background; of these the maximum over the maps; of these the sum over the objects.
    """
    if not len(uncertainties):
        return 0.0
    shape = (int(anchors.objects.max()) + 1, int(anchors.maps.max()) + 1, anchors.distributions.shape[1])
    classes = anchors.distributions.argmax(1)
    cell = (anchors.objects * shape[1] + anchors.maps) * shape[2] + classes
    size = shape[0] * shape[1] * shape[2]
    count = torch.bincount(cell, minlength=size).clamp_min(1)
    means = (torch.bincount(cell, uncertainties, minlength=size) / count).view(shape)
    return float(means.sum(2).amax(1).sum())


def choose_with_zeros(
    scores: npt.NDArray[np.float64], budget: int, rng: np.random.Generator, forward_passes: int
) -> Choice:
    """Choose the highest scores, and images that score zero at random.

    Those are 15 % of the budget; fewer where there are fewer, and more where too few images score above zero.
    """
    (zeros,) = np.nonzero(scores == 0)
    zero_count = min(ZERO_PERCENT * budget // 100, len(zeros))
    best = highest(scores, min(budget - zero_count, len(scores) - len(zeros)))
    rows = np.concatenate([best, rng.choice(zeros, budget - len(best), replace=False)])
    return Choice(rows, scores[rows], forward_passes, undecided=all_equal(scores))
