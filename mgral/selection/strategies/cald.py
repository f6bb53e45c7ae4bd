"""Strategy `cald`: images whose objects change most as the image is changed, of classes that are labelled least.

Source
------
Yu, Zhu, Yang, Ma, *Consistency-based Active Learning for Object Detection*, CVPR workshops 2022.

Formula
-------
First stage: each box found in an image is compared with the box of highest IoU in each augmented image: flipped,
reduced, rotated, and with parts cut out (`augmentation`), by

    m = IoU + (1 - JS) (p + p') / 2,

where JS is the Jensen-Shannon divergence of the two class distributions, and p and p' are their scores. The value of
an augmentation is the smallest |m - 1.3| over the boxes; the value of an image is the mean over the augmentations.
Stable boxes and boxes that are little more than noise are both far from 1.3. Second stage: of the 1.2 B images with
the lowest means, those are chosen whose classes differ most from the labelled ones.

Differences
-----------
Choices where the paper is not specific, and differences to the published code:

- As published, JS has natural logarithms, so that 1 - JS is from 0.31 to 1, and |m - 1.3| is cut off at 1.
- As published, |m - 1.3| is 0 if nothing is found in an image or in the augmented one. So images without an object
  are the first candidates, and the second stage takes them first too.
- Background is one of the classes in JS; p is the score of the most probable other class.
- All boxes of all images of the pool are used; the published code uses 50 boxes of an image, and 5,000 random images
  of COCO.
- A chosen image counts as labelled for the next choice, with its class scores as counts; in the published code that
  line is commented out.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import box_iou

from mgral.artefacts.seeds import derive_seed
from mgral.config.registry import register
from mgral.models.suppression import Found
from mgral.selection.augmentation import VIEWS, views
from mgral.selection.inference import detect_objects, detector_and_images, pool_chunks
from mgral.selection.query import Choice, Query, all_equal, highest
from mgral.selection.strategies.entropy import entropy

BASE = 1.3
"""The paper's beta: the m of what is most worth a label."""
FARTHEST = 1.0
"""The largest |m - 1.3|, as in the published code."""
LARGEST = math.log(2)
"""The largest Jensen-Shannon divergence, in nats."""
CANDIDATES_PER_CHOSEN = 1.2
"""Images that the second stage chooses from, as a multiple of the budget."""


@register("cald", "objects that change as the image is changed, of rare classes", requires=("detections",), views=5)
def choose(query: Query) -> Choice:
    """Choose in two stages; scores are the divergences of the second."""
    distances, scores = measure_pool(query)
    candidates = highest(-distances, int(CANDIDATES_PER_CHOSEN * query.budget))
    counts = query.dataset.object_counts(query.labelled).astype(np.float64)
    choice = choose_balanced(scores[candidates], torch.from_numpy(counts), query.budget)
    passes = (1 + VIEWS) * len(query.pool)
    return replace(choice.among(candidates), forward_passes=passes, undecided=all_equal(distances))


@torch.no_grad()
def measure_pool(query: Query) -> tuple[npt.NDArray[np.float64], Tensor]:
    """Show the pool to the detector, as it is and changed.

    Returns
    -------
    The mean |m - 1.3| of each image, [n], and its class scores, means over all views, float64 [n, C] on the CPU.
    """
    detector, images = detector_and_images(query)
    classes = len(query.dataset.categories)

    def detect(inputs: Tensor) -> list[Found]:
        return [objects.to("cpu") for objects in detect_objects(detector, inputs, query.config.evaluation)]

    distances, scores = [], []
    for rows, inputs in pool_chunks(query, detector, images, "CALD"):
        ids = query.dataset.image_ids[rows].tolist()
        seeds = [derive_seed(query.seed, "CALD cut-out", query.cycle, image_id) for image_id in ids]
        plain = detect(inputs)
        changed = [
            (boxes, detect(view)) for view, boxes in views(inputs, [objects.boxes for objects in plain], seeds)
        ]
        for index, original in enumerate(plain):
            pairs = [(boxes[index], detections[index]) for boxes, detections in changed]
            distances.append(sum(distance_to_base(original, boxes, objects) for boxes, objects in pairs) / VIEWS)
            all_views = [original, *(objects for _, objects in pairs)]
            scores.append(torch.stack([class_scores(objects, classes) for objects in all_views]).mean(0))
    return np.array(distances), torch.stack(scores)


def distance_to_base(original: Found, boxes: Tensor, changed: Found) -> float:
    """Return the smallest |m - 1.3| of an image under one augmentation.

    Parameters
    ----------
    original
        What is found in the image as it is.
    boxes
        [n, 4], where its boxes lie in the changed image.
    changed
        What is found in the changed image.
    """
    if len(original.scores) == 0 or len(changed.scores) == 0:
        return 0.0
    # Not a number where two boxes without an area meet.
    overlaps, matches = box_iou(boxes, changed.boxes).nan_to_num().max(dim=1)
    divergence = jensen_shannon(original.distributions, changed.distributions[matches])
    certainty = (1 - divergence) * (original.scores + changed.scores[matches]) / 2
    return float((overlaps + certainty - BASE).abs().min().clamp(max=FARTHEST))


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of distributions [..., C] in nats, float64 [...] in 0..ln 2."""
    first, second = first.double(), second.double()
    between = entropy((first + second) / 2) - (entropy(first) + entropy(second)) / 2
    return between.clamp(0, LARGEST)


def class_scores(detections: Found, classes: int) -> Tensor:
    """Return the highest score of each class in an image, float64 [C]; 0 where none is found."""
    return torch.zeros(classes, dtype=torch.float64).scatter_reduce(
        0, detections.labels, detections.scores.double(), "amax"
    )


def choose_balanced(scores: Tensor, counts: Tensor, budget: int) -> Choice:
    """Choose one image after the other: each time the one whose classes differ most from the labelled ones'.

    Both are softmaxes, as in the paper, of the class scores of an image and of the classes' mean counts, as in the
    published code. Those without any score come before all others, and of equal ones the earlier candidate.

    Parameters
    ----------
    scores
        Class scores of the candidates, float64 [n, C].
    counts
        Of each class in each labelled image, float64 [m, C].
    """
    candidates, empty = scores.softmax(1), (scores == 0).all(1)
    total, images = counts.sum(0), len(counts)
    rows: list[int] = []
    divergences: list[float] = []
    for _ in range(budget):
        divergence = jensen_shannon(candidates, (total / images).softmax(0)).masked_fill(empty, LARGEST)
        divergence[rows] = -1
        row = int(divergence.argmax())
        rows.append(row)
        divergences.append(float(divergence[row]))
        total, images = total + scores[row], images + 1
    return Choice(np.array(rows, dtype=np.int64), np.array(divergences))
