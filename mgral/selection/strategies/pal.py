"""Strategy `pal`: images with boxes that may be wrong, of rare classes, unlike the images that rank before them.

It uses only the output of a detector. LIUS scores each box: for each class, a logistic regression learns on the
labelled images to separate true from false positives, from the box's confidence and the number of boxes that
suppression merges into it. GUIDE scores each image: entropy weighted by class, diversity of rare classes, and a
penalty for similarity to images that rank before it. The most uncertain images are candidates, and GUIDE chooses the
batch from them.

Source
------
*Portable Active Learning for Object Detection*, CVPR 2026, arXiv 2605.10349. No code is published, and we had no
access to the paper itself. The abstract and parts of three summaries name these signals, but give no formula and no
settings. So this is not a reimplementation of PAL, and was not compared with its numbers.

Formula
-------
A box that is right with probability q has the entropy h = - q log q - (1 - q) log (1 - q). With the weight w of its
class, and each of the first two scaled to 1 at most among the candidates:

    score = (sum of w h + sum over classes of w max q) / 2 - cosine to the most alike candidate that ranks before

Differences
-----------
Our choices, each the simplest reasonable one:

- A box's support is the number of boxes of its class that overlap it by more than `evaluation.nms_iou`, including
  itself, among boxes above 0.05 and before suppression. Detectors without suppression are treated in the same way: a
  box that overlaps a better box of its class supports that one, and is not a detection itself. Boxes after
  suppression, such as those of a command, mostly have a support of 1, so only the confidence counts.
- A box is right if it has an IoU of 0.5 with a labelled box of its class that no better box has matched. Crowds and
  difficult objects are not among the labels, so detections of them count as wrong.
- For a class with fewer than 5 right or fewer than 5 wrong boxes, a regression over the boxes of all classes is used;
  if these are too few as well, the confidence is the probability.
- The uncertainty of an image is the sum over its boxes; four candidates are kept for each image to choose, as in
  PPAL.
- The weight of a class with n labelled boxes is sqrt((1 + m) / (1 + n)), where the most frequent class has m boxes.
  The 1 keeps it finite for a class without labelled boxes.
- The entropy of an image is the weighted sum over its boxes. Its diversity is the sum of the weights of the classes
  in it, each times the highest probability of a box of it. Both are scaled to 1 at most among the candidates, and
  their mean ranks these.
- The penalty is the highest cosine similarity, at least 0, to a candidate that ranks before it, so that a copy adds
  nothing. It is computed on embeddings; the paper's similarity measure is unknown to us.

The detector was trained on the same images as the regressions. Its detections there are right more often than in the
pool, so probabilities can be too high. Whether the paper corrects this is unknown; this implementation does not.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import entr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor
from torchvision.ops import batched_nms, box_iou

from mgral.config import EvaluationConfig
from mgral.config.registry import register
from mgral.models.suppression import MOST_PAIRS, Found
from mgral.selection.inference import detector_and_images, objects_of
from mgral.selection.query import Choice, Query, all_equal, highest

CANDIDATES_PER_CHOSEN = 4
"""Images that GUIDE chooses from, as a multiple of the budget."""
OVERLAP = 0.5
"""IoU from which a box is that of a labelled object."""
LEAST = 5
"""Right boxes, and wrong ones, that a regression learns from at least."""

Floats = npt.NDArray[np.float64]


class Boxes(NamedTuple):
    """What is found in several images."""

    images: npt.NDArray[np.int64]
    """Shape [n]: the image of each, counted from 0."""
    labels: npt.NDArray[np.int64]
    """Shape [n]."""
    features: Floats
    """Shape [n, 2]: confidence and support."""
    right: npt.NDArray[np.bool_]
    """Shape [n]: whether each is that of a labelled object; none is in the pool."""


@register("pal", "boxes that may be wrong, of rare classes in unlike images", requires=("detections", "embeddings"))
def choose(query: Query) -> Choice:
    """Choose from the most uncertain images; scores are GUIDE's. The detector also runs on the labelled images."""
    assert query.embeddings is not None
    learnt, pool = boxes_in(query, query.labelled), boxes_in(query, query.pool)
    probabilities = right_by_class(learnt, pool)
    entropies = entr(probabilities) + entr(1 - probabilities)
    uncertainties = sums(pool, entropies, len(query.pool))
    candidates = highest(uncertainties, CANDIDATES_PER_CHOSEN * query.budget)

    weights = class_weights(query.dataset.object_counts(query.labelled).sum(axis=0))
    weighted = sums(pool, weights[pool.labels] * entropies, len(query.pool))
    diversities = class_diversity(pool, probabilities, weights, len(query.pool))
    worth = (scaled(weighted[candidates]) + scaled(diversities[candidates])) / 2
    scores = worth - rank_penalty(worth, query.embeddings.components_of(query.pool[candidates]))
    passes = len(query.labelled) + len(query.pool)
    undecided = all_equal(uncertainties) and all_equal(diversities)
    return replace(Choice.best(scores, query.budget, passes).among(candidates), undecided=undecided)


def boxes_in(query: Query, image_ids: npt.NDArray[np.int64]) -> Boxes:
    """Return the boxes found in some images, one image after the other."""
    evaluation = query.config.evaluation
    no_suppression = evaluation.model_copy(update={"nms_iou": 1.0, "max_detections": MOST_PAIRS})
    unsuppressed = replace(query, config=query.config.model_copy(update={"evaluation": no_suppression}))
    rows = query.dataset.rows(image_ids).tolist()
    counts, labels, features, right = [], [np.zeros(0, np.int64)], [np.zeros((0, 2))], [np.zeros(0, bool)]
    for row, candidates in zip(rows, objects_of(unsuppressed, image_ids, "PAL"), strict=True):
        remaining, support = suppress_counting(candidates, evaluation)
        counts.append(len(support))
        labels.append(remaining.labels.numpy())
        features.append(torch.stack([remaining.scores.double(), support.double()], 1).numpy())
        right.append(true_positives(remaining, *_truth(query, row)))
    images = np.repeat(np.arange(len(rows)), counts)
    return Boxes(images, np.concatenate(labels), np.concatenate(features), np.concatenate(right))


def suppress_counting(candidates: Found, config: EvaluationConfig) -> tuple[Found, Tensor]:
    """Return the boxes of an image that suppression leaves, best first, and the support of each, int64 [n]."""
    kept_rows = batched_nms(candidates.boxes, candidates.scores, candidates.labels, config.nms_iou)
    remaining = candidates.only(kept_rows[: config.max_detections])
    # Not a number where two boxes without an area meet.
    overlaps = box_iou(remaining.boxes, candidates.boxes).nan_to_num() > config.nms_iou
    support = (overlaps & (remaining.labels[:, None] == candidates.labels)).sum(1)
    return remaining, support.clamp_min(1)


def true_positives(detections: Found, boxes: Tensor, labels: Tensor) -> npt.NDArray[np.bool_]:
    """Return which boxes of an image, best first, are those of labelled ones, bool [n].

    Parameters
    ----------
    detections
        The image's boxes.
    boxes, labels
        The labelled ones, [m, 4] in the same pixels, and [m].
    """
    overlaps = (box_iou(detections.boxes, boxes).nan_to_num() * (detections.labels[:, None] == labels)).numpy()
    right = np.zeros(len(overlaps), dtype=bool)
    for row in range(len(overlaps) if len(boxes) else 0):
        best = overlaps[row].argmax()
        right[row] = overlaps[row, best] >= OVERLAP
        if right[row]:
            overlaps[:, best] = 0
    return right


def right_by_class(learnt: Boxes, scored: Boxes) -> Floats:
    """Return the probability that each of the boxes to be scored is right, float64 [n], given boxes to learn from."""
    shared = _regression(learnt.features, learnt.right)
    probabilities = scored.features[:, 0].copy()
    for label in np.unique(scored.labels):
        learnt_of_class, scored_of_class = learnt.labels == label, scored.labels == label
        regression = _regression(learnt.features[learnt_of_class], learnt.right[learnt_of_class]) or shared
        if regression is not None:
            probabilities[scored_of_class] = regression.predict_proba(scored.features[scored_of_class])[:, 1]
    return probabilities


def class_weights(counts: npt.NDArray[np.int64]) -> Floats:
    """Return the weights of classes, float64 [C], by their labelled boxes; 1 for the commonest, more for others."""
    weights: Floats = np.sqrt((1 + counts.max()) / (1 + counts))
    return weights


def sums(boxes: Boxes, values: Floats, images: int) -> Floats:
    """Return the sum of the values of each image's boxes, float64 [images]."""
    # Without a box `bincount` makes them integers.
    return np.bincount(boxes.images, values, images).astype(np.float64)


def class_diversity(boxes: Boxes, probabilities: Floats, weights: Floats, images: int) -> Floats:
    """Return the weighted number of classes that each image probably contains, float64 [images]."""
    likeliest = np.zeros((images, len(weights)))
    np.maximum.at(likeliest, (boxes.images, boxes.labels), probabilities)
    return likeliest @ weights


def rank_penalty(worth: Floats, vectors: npt.NDArray[np.float32]) -> Floats:
    """Return the highest cosine of each image's vector [n, D] and one of those worth more, in 0..1, float64 [n].

    Of images that are worth the same, the earlier ranks before the later.
    """
    order = highest(worth, len(worth))
    ranked = vectors[order].astype(np.float64)
    ranked /= np.linalg.norm(ranked, axis=1, keepdims=True).clip(min=1e-12)
    penalties = np.zeros(len(worth))
    for rank in range(1, len(order)):  # all cosines at once take gigabytes where many are to be chosen
        penalties[order[rank]] = (ranked[:rank] @ ranked[rank]).max()
    return penalties.clip(0, 1)


def scaled(values: Floats) -> Floats:
    """Return values, [n], 0 or more, so that the highest is 1; zeros stay."""
    highest_value = values.max()
    return values / highest_value if highest_value > 0 else values


def _regression(features: Floats, right: npt.NDArray[np.bool_]) -> Pipeline | None:
    if min(right.sum(), (~right).sum()) < LEAST:
        return None
    with threadpool_limits(limits=1):  # threads add up in the order in which they finish
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(features, right)


def _truth(query: Query, row: int) -> tuple[Tensor, Tensor]:
    """Return the labelled boxes of an image, in the pixels of those found in it, and their labels."""
    boxes, labels = query.dataset.boxes[row], query.dataset.labels[row]
    if query.found is None:
        _, images = detector_and_images(query)
        size = query.dataset.sizes[row : row + 1]
        boxes = boxes * np.tile(images.canvas.shown(size) / size, 2).astype(np.float32)
    return torch.from_numpy(boxes), torch.from_numpy(labels)
