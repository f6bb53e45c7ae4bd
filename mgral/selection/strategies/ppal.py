"""Strategy `ppal`: images that are uncertain, most for classes that the detector is bad at, and unlike each other.

Source
------
Yang, Huang, Crowley, *Plug and Play Active Learning for Object Detection*, CVPR 2024.

Formula
-------
Stage 1 (difficulty-calibrated uncertainty sampling) keeps the 4 B images with the highest sum over boxes of the
binary entropy of the score s, times a weight of the class, by its quality q:

    score = sum w (- s log s - (1 - s) log (1 - s)),  w = 1 + 0.06 log((e^(1 / 0.3) - 1) (1 - q) + 1)

Stage 2 chooses the B medoids of these by the distance between images in `similarity`.

Differences
-----------
The class qualities are those that every detector records during its training, so that the detector is the same for
all strategies. As published, a box counts for each class whose score is above 0.05 (`find_boxes`). Differences to the
published code:

- the thresholds of suppression are the experiment's in both stages. Theirs are, on COCO, an IoU of 0.6 and 200 boxes
  in stage 1, 0.5 and 100 in stage 2; on VOC 0.5 and 200, 0.4 and 100, with scores from 0.01 in stage 1;
- qualities leave out batches without the class (`ClassQuality`); theirs make a rare class look difficult;
- features are those at the centres of boxes; their code swaps height and width, so in images that are not square some
  centres lie outside and have zero features;
- an image without a box has the largest distance to all others, not distance 0 (see `similarity`);
- the search for medoids starts from the most uncertain image, not from a random one. As published, it is k-centre
  greedy followed by k-medoids, where the paper says k-means++.

The detector runs twice on each candidate, because features of the complete pool would not fit into memory.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mgral.config.registry import register
from mgral.data.images import Images
from mgral.evaluation.detect import image_chunks
from mgral.models.interface import DenseModel
from mgral.models.suppression import Found
from mgral.selection.inference import dense_and_images, find_boxes, pool_chunks
from mgral.selection.medoids import k_medoids
from mgral.selection.query import Choice, Query, all_equal, highest
from mgral.selection.similarity import Boxes, image_distances

CANDIDATES_PER_CHOSEN = 4
"""Images that stage 1 keeps for each one to be chosen: the paper's budget expanding ratio."""
ALPHA, BETA = 0.3, 0.2
"""How fast class weights rise with difficulty, and by how much."""
LEAST_SIDE = 16
"""Root of the area that a box must exceed to count in stage 1, in pixels of the original image, as in the published
code: what is too small to see does not become larger where a detector is shown more or fewer pixels."""
LARGEST_ASPECT = 5
"""Longer side by shorter side below which a box counts in stage 1."""
MATCHED_BOXES = 100
"""Best boxes of an image that stage 2 compares."""


@register("ppal", "medoids of the images with the most class-weighted entropy", requires=("dense",))
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose the medoids of the most uncertain images; the order and the scores are those of stage 1, best first."""
    detector, images = dense_and_images(query)
    scores = _uncertainties(query, detector, images)
    candidates = highest(scores, CANDIDATES_PER_CHOSEN * query.budget)
    distances = _distances(query, detector, images, query.dataset.rows(query.pool[candidates]))
    rows = candidates[k_medoids(distances, query.budget)]
    return Choice(rows, scores[rows], len(query.pool) + len(candidates), undecided=all_equal(scores))


def class_weights(quality: Tensor) -> Tensor:
    """Return the weights of classes by their quality in 0..1, [C]: 1 where it is 1, and 1 + BETA where it is 0."""
    return 1 + ALPHA * BETA * torch.log((math.exp(1 / ALPHA) - 1) * (1 - quality) + 1)


def uncertainty(detections: Found, sizes: Tensor, weights: Tensor) -> Tensor:
    """Return an image's sum of weighted binary entropies, in nats, a scalar in double precision; 0 without a box.

    Parameters
    ----------
    detections
        The image's boxes.
    sizes
        float [n, 2], their widths and heights in pixels of the original image.
    weights
        Of the classes, [C].
    """
    shorter, longer = sizes.aminmax(dim=1)
    counts = ((shorter * longer).sqrt() > LEAST_SIDE) & (longer < LARGEST_ASPECT * shorter)
    scores = detections.scores.double()
    entropies: Tensor = torch.special.entr(scores) + torch.special.entr(1 - scores)
    return (weights[detections.labels] * entropies * counts).sum()


def _uncertainties(query: Query, detector: DenseModel, images: Images) -> npt.NDArray[np.float64]:
    weights = class_weights(detector.class_quality.values.double())
    shown_sizes = images.canvas.shown(query.dataset.sizes)
    scores = []
    for rows, inputs in pool_chunks(query, detector, images, "uncertainty"):
        boxes = find_boxes(detector, detector.predictions(inputs), query.config.evaluation)
        for row, found in zip(rows, boxes, strict=True):
            extent, original = (found.boxes.new_tensor(size[row]) for size in (shown_sizes, query.dataset.sizes))
            # What a box has beyond the image's edge, on the rest of its canvas, is no part of it.
            corners = torch.minimum(found.boxes.view(-1, 2, 2), extent)
            scores.append(uncertainty(found, (corners[:, 1] - corners[:, 0]) * original / extent, weights))
    return torch.stack(scores).cpu().numpy()


def _distances(
    query: Query, detector: DenseModel, images: Images, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return how unlike rows of the data set are, [n, n], by the features that classes are predicted from."""
    scores: list[Tensor] = []
    spaces: dict[int, list[Boxes]] = {}
    for _, inputs in image_chunks(images, rows, "similarity", detector.device):
        maps = detector.maps(inputs)
        class_maps = detector.class_maps(maps)
        # Levels with as many channels are a pyramid (`RetinaNet`, `SmallSSD`), whose features are meant to be alike;
        # SSD300's are layers of different depth, each of them a space of its own.
        separate = len({layer.shape[1] for layer in class_maps}) > 1
        for index, found in enumerate(find_boxes(detector, detector.predict(maps), query.config.evaluation)):
            best = Found(*(part[:MATCHED_BOXES] for part in found))
            one_hot = F.one_hot(best.labels, len(query.dataset.categories))
            for level, boxes in boxes_of_levels(detector, [layer[index] for layer in class_maps], best, len(scores)):
                spaces.setdefault(level if separate else 0, []).append(boxes)
            scores.append(best.scores @ one_hot.to(best.scores))
    joined = [Boxes(*map(torch.cat, zip(*parts, strict=True))) for parts in spaces.values()]
    return image_distances(torch.stack(scores), joined).cpu().numpy()


def boxes_of_levels(
    detector: DenseModel, class_maps: Sequence[Tensor], detections: Found, image: int
) -> Iterator[tuple[int, Boxes]]:
    """Yield the levels that an image's boxes come from, and their boxes with the features at the boxes' centres.

    The features, float32 [F, h, w] a level, are interpolated bilinearly, as in the published code.
    """
    ends = torch.tensor(detector.anchors_a_map, device=detections.sources.device).cumsum(0)
    levels = torch.bucketize(detections.sources, ends, right=True)
    height, width = detector.size
    centres = (detections.boxes[:, :2] + detections.boxes[:, 2:]) / detections.boxes.new_tensor([width, height]) - 1
    for level in levels.bincount().nonzero().flatten().tolist():
        on_level = levels == level
        grid = centres[on_level][None, None]
        sampled = F.grid_sample(class_maps[level][None], grid, padding_mode="border", align_corners=False)
        features = F.normalize(sampled[0, :, 0].t())
        images = torch.full_like(detections.labels[on_level], image)
        yield level, Boxes(images, detections.labels[on_level], detections.scores[on_level], features)
