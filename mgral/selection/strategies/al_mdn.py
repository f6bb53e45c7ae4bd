"""Strategy `al_mdn`: the images with an object that is most uncertain, in place or class, aleatoric or epistemic.

A head predicts for each anchor a mixture of four Gaussians for its box and of four for its logits.

Source
------
Choi, Elezi, Lee, Farabet and Alvarez, *Active learning for deep object detection via probabilistic modeling*, ICCV
2021, section 3.

Formula
-------
For a mixture with weights w, means m and variances v:

    aleatoric = sum w v,  epistemic = sum w (m - sum w m)^2

These are computed for the box and for the class of each object. Each of the four is normalised by mean and standard
deviation over all objects of the pool. The score of an image is the highest of these values over its objects.

Differences
-----------
- Here the head is trained together with the detector, on the feature maps that classes are predicted from, without a
  gradient into them (see `heads`), and is applied to the objects that the detector finds. In the paper it is the
  detector itself, with its own learning curve.
- The variance of a Gaussian is used as in the paper's density. Their code divides by it like a standard deviation,
  and adds 0.3: data of variance 0.09 are learnt as 0.395, here as 0.088.
- The class loss is the detector's own, on the mixture of class probabilities (type 2 of their supplement), so a
  detector with sigmoids has its focal loss. Theirs is the mixture of cross-entropies, with as many hard anchors.
- Images without an object come last, as in their code, but in random order and not in the order of the pool.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.config.registry import register, register_head
from mgral.models.interface import DenseModel, Targets
from mgral.models.suppression import Found
from mgral.selection.heads import AnchorHead, Seen, with_head
from mgral.selection.inference import find_objects, pool_chunks
from mgral.selection.query import Choice, Query

COMPONENTS = 4
"""Gaussians of a mixture, K, as in the paper."""
BOX_WEIGHT = 0.5
"""Weight of the boxes' loss; that of the classes has 1, as in the paper."""
LIKELY_OBJECT_SCORE = 0.5
"""Score from which a detection is an object, as in the published code."""
BOX_OUTPUTS = 12
"""Box outputs of a component: four means, variances and weights; 2 L + 1 for the logits follow."""
NO_OBJECT = -1e5
"""Score of an image without an object, as in the published code."""
SMALLEST = 1e-9
"""Least value in a division, logarithm or root, so that its gradient is finite."""


class Mixture(NamedTuple):
    """Mixtures of K Gaussians, one for each of V values."""

    means: Tensor
    """float32 [..., K, V]"""
    variances: Tensor
    """float32 [..., K, V], in 0..1."""
    weights: Tensor
    """float32 [..., K, V], or [..., K, 1] where the values share them; they add up to 1 over K."""

    def aleatoric(self) -> Tensor:
        """Return the mean of the variances, [..., V]."""
        return (self.weights * self.variances).sum(-2)

    def epistemic(self) -> Tensor:
        """Return the variance of the means, [..., V]."""
        mean = (self.weights * self.means).sum(-2, keepdim=True)
        return (self.weights * (self.means - mean).square()).sum(-2)


def box_mixture(outputs: Tensor) -> Mixture:
    """Take the head's outputs [..., O] apart: the mixture of an anchor's offsets, four values; see `Predictions`."""
    means, variances, weights = torch.split(_components(outputs)[..., :BOX_OUTPUTS], 4, dim=-1)
    return Mixture(means, variances.sigmoid(), weights.softmax(-2))


def class_mixture(outputs: Tensor) -> Mixture:
    """Take the head's outputs [..., O] apart: the mixture of an anchor's logits, L values that share a weight."""
    logit_outputs = _components(outputs)[..., BOX_OUTPUTS:]
    length = (logit_outputs.shape[-1] - 1) // 2
    means, variances, weights = torch.split(logit_outputs, [length, length, 1], dim=-1)
    return Mixture(means, variances.sigmoid(), weights.softmax(-2))


def _components(outputs: Tensor) -> Tensor:
    return outputs.reshape(*outputs.shape[:-1], COMPONENTS, outputs.shape[-1] // COMPONENTS)


@register("al_mdn", "the most uncertain object, by mixtures of Gaussians", requires=("dense", "head"))
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the most uncertain object."""
    detector, images, head = with_head(query)
    values = []
    for _, inputs in pool_chunks(query, detector, images, "al_mdn"):
        maps = detector.maps(inputs)
        outputs = head(detector.class_maps(maps))
        objects = find_objects(detector, detector.predict(maps), query.config.evaluation)
        values += [uncertainties(detector, *pair).cpu() for pair in zip(outputs, objects, strict=True)]
    return Choice.best(most_uncertain(values).numpy(), query.budget, len(query.pool))


def build(detector: DenseModel, seen: Seen) -> AnchorHead:
    """Return the head, untrained."""
    mean = seen.predictions.logits.mean((0, 1))
    bias = torch.cat([mean.new_zeros(BOX_OUTPUTS), mean, mean.new_zeros(len(mean) + 1)]).repeat(COMPONENTS)
    return AnchorHead(detector.class_maps(seen.maps), detector.anchors_a_cell, bias)


def loss(head: AnchorHead, detector: DenseModel, seen: Seen) -> Tensor:
    """Return the head's loss of a batch, a scalar."""
    outputs = head(detector.class_maps(seen.maps))
    classes = class_mixture(outputs)
    logits = mixed_logits(detector, classes, torch.randn_like(classes.means))
    # The boxes are those of the detector, which have no gradient: what is learnt from is the loss of classes.
    class_loss = detector.loss(seen.predictions._replace(logits=logits), seen.targets)
    return class_loss + BOX_WEIGHT * matched_box_loss(detector, outputs, seen.targets)


register_head("al_mdn", build, loss)


def mixed_logits(detector: DenseModel, classes: Mixture, normal: Tensor) -> Tensor:
    """Return logits [..., L] of the mixture of class probabilities, given Gaussian noise [..., K, L].

    Each component's logits are drawn from its Gaussian. The result is what `class_probabilities` turns
    into the mean of theirs: the logarithm of the odds against the background.
    """
    probabilities = detector.class_probabilities(
        classes.means + classes.variances.clamp_min(SMALLEST).sqrt() * normal
    )
    logarithms = (classes.weights * probabilities).sum(-2).clamp_min(SMALLEST).log()
    odds = logarithms - logarithms[..., :1]
    return odds[..., -normal.shape[-1] :]


def matched_box_loss(detector: DenseModel, outputs: Tensor, targets: Targets) -> Tensor:
    """Return the mean of `box_loss` over the anchors with a box, a scalar, given the head's outputs [B, A, O]."""
    matched = detector.match(targets)
    image, anchor = (matched >= 0).nonzero(as_tuple=True)
    goal = detector.encode(targets.boxes[image, matched[image, anchor]], detector.anchors[anchor])
    return box_loss(box_mixture(outputs[image, anchor]), goal).sum() / max(1, len(goal))


def box_loss(boxes: Mixture, goal: Tensor) -> Tensor:
    """Return the negative log-likelihood of offsets [n, 4], added up over the four, [n]."""
    losses = F.gaussian_nll_loss(
        boxes.means, goal[:, None].expand_as(boxes.means), boxes.variances, full=True, eps=1e-6, reduction="none"
    )
    return -(boxes.weights.clamp_min(SMALLEST).log() - losses).logsumexp(1).sum(1)


def uncertainties(detector: DenseModel, outputs: Tensor, objects: Found) -> Tensor:
    """Return the uncertainties of an image's n objects, [n, 4]: aleatoric and epistemic, of the box and of the class.

    Of a box the largest of its four coordinates', of a class that of the one found; the head's outputs are [A, O].
    """
    likely = objects.scores > LIKELY_OBJECT_SCORE
    labels = objects.labels[likely, None]
    object_outputs = outputs[objects.sources[likely]]
    boxes, classes = box_mixture(object_outputs), class_mixture(object_outputs)
    class_count = objects.distributions.shape[1] - 1
    probabilities = classes._replace(means=detector.class_probabilities(classes.means))
    # The last of either, as there may be a background before them.
    of_class = [part[:, -class_count:].gather(1, labels) for part in (classes.aleatoric(), probabilities.epistemic())]
    of_box = [part.amax(1, keepdim=True) for part in (boxes.aleatoric(), boxes.epistemic())]
    return torch.cat(of_box + of_class, dim=1)


def most_uncertain(uncertainties_by_image: list[Tensor]) -> Tensor:
    """Return an image's score, [N], given the uncertainties of each image's objects, [n, 4].

    Each of the four is normalised over all objects of the pool, by mean and standard deviation; the score is the
    highest that any object has in any.
    """
    all_values = torch.cat(uncertainties_by_image)
    if not len(all_values):
        return all_values.new_full((len(uncertainties_by_image),), NO_OBJECT)
    mean, deviation = all_values.mean(0), all_values.std(0, correction=0).clamp_min(SMALLEST)
    return torch.stack(
        [
            ((values - mean) / deviation).amax() if len(values) else values.new_tensor(NO_OBJECT)
            for values in uncertainties_by_image
        ]
    )
