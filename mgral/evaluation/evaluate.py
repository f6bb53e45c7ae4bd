"""A detector's scores on all images of a split."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.config import EvaluationConfig
from mgral.data.dataset import Dataset
from mgral.data.image_set import ImageSet
from mgral.data.results import FoundBoxes
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import coco_results, detect_images
from mgral.evaluation.voc import add_voc_scores, is_voc
from mgral.models.interface import DetectorModel


def evaluate_detector(
    detector: DetectorModel, data: ImageSet, config: EvaluationConfig
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Detect on every image and score: COCO's mAP@[.5:.95], AP50, AP75, by size, by class.

    Of VOC data also AP50 by VOC's own rules: at 11 points of recall (2007), and by area (2010 and later).

    Returns
    -------
    The scores, as `score_detections` and `add_voc_scores` describe them, and the detections as COCO results.
    """
    rows = np.arange(len(data.dataset.image_ids))
    detections = detect_images(detector, data.dataset, data.images, rows, config)
    return _score(detections, data), detections


def evaluate_found(
    found_boxes: FoundBoxes, data: ImageSet, config: EvaluationConfig
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Score what a command has found, as `evaluate_detector` does; it has dropped overlaps itself."""
    results = found_results(found_boxes, data.dataset, np.unique(found_boxes.rows), config)
    return _score(results, data), results


def found_results(
    found_boxes: FoundBoxes, dataset: Dataset, rows: npt.NDArray[np.int64], config: EvaluationConfig
) -> list[dict[str, Any]]:
    """Return what a command has found in rows of a data set as COCO results, in the order of the rows."""
    detections, results = found_boxes.above(config.score_threshold, config.max_detections), []
    for row in rows.tolist():
        row_boxes = detections.of_row(row)
        results += coco_results(dataset, row, row_boxes.boxes, row_boxes.scores.tolist(), row_boxes.labels.tolist())
    return results


def _score(detections: list[dict[str, Any]], data: ImageSet) -> dict[str, Any]:
    """Score COCO results on all images of a data set, of VOC data by VOC's rules too."""
    truth = data.truth()
    scores = score_detections(truth, detections, data.dataset.image_ids.tolist())
    return add_voc_scores(scores, truth, detections) if is_voc(truth) else scores
