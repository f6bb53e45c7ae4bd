"""Strategy `al_ssl`: among images with an uncertain object, those with one that changes most as they are mirrored.

Source
------
Elezi, Yu, Anandkumar, Leal-Taixé, Alvarez, *Not All Labels Are Equal: Rationalizing the Labeling Costs for Training
Object Detection*, CVPR 2022: their acquisition.

Formula
-------
Each detection that survives suppression has the symmetric KL between its class distribution p and that of its anchor
in the mirrored image, q, as in CSD (Jeong et al., NeurIPS 2019), and the entropy H of its distribution:

    KL = sum (p - q) (log p - log q) / 2,  H = - sum p log p

The values of an image are the largest KL and the largest H among its detections. Of the 3 B images with the highest
entropy, the B with the highest KL are chosen.

Differences
-----------
Their detector is trained for this consistency, and with pseudo-labels on a part of the other images. Here it is the
detector that all strategies share. The thresholds of suppression are the experiment's. Images without a likely object
have 0 for both; if they are needed to fill a batch, they come in random order, not in the order of the pool.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.config import EvaluationConfig
from mgral.config.registry import register
from mgral.models.interface import DenseModel, Predictions
from mgral.selection.inference import dense_and_images, find_boxes, pool_chunks
from mgral.selection.query import Choice, Query, all_equal, highest
from mgral.selection.strategies.entropy import entropy
from mgral.training.consistency import class_distance

LIKELY_OBJECT_SCORE = 0.5
"""Score from which a detection counts, as in the published code."""
CANDIDATES_PER_CHOSEN = 3
"""Images of the highest entropy that are compared for each one to be chosen."""


@register("al_ssl", "uncertain objects that change most as the image is mirrored", requires=("dense",), views=2)
@torch.no_grad()
def choose(query: Query) -> Choice:
    """Choose by the largest inconsistency among images of high entropy; each image is shown twice."""
    detector, images = dense_and_images(query)
    values = []
    for _, inputs in pool_chunks(query, detector, images, "AL-SSL"):
        plain, mirrored = detector.predictions(inputs), detector.mirror(detector.predictions(inputs.flip(3)))
        values.append(inconsistency_and_entropy(detector, plain, mirrored, query.config.evaluation))
    scores, entropies = torch.cat(values, dim=1).cpu().numpy()
    choice = most_inconsistent(scores, entropies, query.budget)
    return replace(choice, forward_passes=2 * len(query.pool))


def most_inconsistent(scores: npt.NDArray[np.float64], entropies: npt.NDArray[np.float64], budget: int) -> Choice:
    """Choose the highest scores among the images of the highest entropies; undecided if all of both are equal."""
    candidates = highest(entropies, CANDIDATES_PER_CHOSEN * budget)
    undecided = all_equal(scores) and all_equal(entropies)
    return replace(Choice.best(scores[candidates], budget).among(candidates), undecided=undecided)


def inconsistency_and_entropy(
    detector: DenseModel, plain: Predictions, mirrored: Predictions, config: EvaluationConfig
) -> Tensor:
    """Return the largest symmetric KL and the largest entropy of each image's detections, float64 [2, B], in nats.

    Both are 0 without a detection.

    Parameters
    ----------
    plain
        The detector's predictions on the images, which decide which anchors are detections.
    mirrored
        Those on their mirror images, mirrored back.
    """
    values = []
    for image, boxes in enumerate(find_boxes(detector, plain, config)):
        sources = boxes.sources[boxes.scores >= LIKELY_OBJECT_SCORE]
        plain_logits, mirrored_logits = (
            plain.logits[image, sources].double(),
            mirrored.logits[image, sources].double(),
        )
        measures = (
            class_distance(detector, plain_logits, mirrored_logits),
            entropy(detector.class_probabilities(plain_logits)),
        )
        values.append(torch.stack([measure.max() if len(measure) else measure.sum() for measure in measures]))
    return torch.stack(values, dim=1)
