"""What a round's detector found, as boxes for people to correct."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from mgral.labelling.records import Box, FoundBox

MOST_BOXES = 100
"""Most boxes that are proposed in a picture."""
LEAST_SIDE = 1.0
"""Shortest side of a proposed box in pixels, after the box is cut to the picture."""


def proposed_boxes(
    detections: Iterable[Mapping[str, Any]],
    classes: Mapping[int, str],
    sizes: Mapping[int, tuple[int, int]],
    threshold: float | None,
) -> dict[int, tuple[FoundBox, ...]]:
    """Return the boxes to propose for images of a round, by their numbers, best first.

    Parameters
    ----------
    detections
        COCO results, as the step `prelabels` writes them.
    classes
        Names by id; detections of others are left out.
    sizes
        Width and height of the upright pictures, to which boxes are cut.
    threshold
        Score from which a detection is proposed, as `mgral.evaluation.precision.trusted_score` gives it: correcting
        bad boxes takes longer than drawing good ones. None proposes nothing.
    """
    boxes_by_image: dict[int, list[FoundBox]] = defaultdict(list)
    for detection in detections:
        image, label = detection["image_id"], classes.get(detection["category_id"])
        if threshold is None or label is None or detection["score"] < threshold:
            continue
        box = _cut(detection["bbox"], sizes[image], label)
        if min(box.width, box.height) >= LEAST_SIDE:
            boxes_by_image[image].append(FoundBox(box, detection["score"]))
    return {
        image: tuple(sorted(found_boxes, key=lambda found_box: (-found_box.score, found_box.box))[:MOST_BOXES])
        for image, found_boxes in boxes_by_image.items()
    }


def _cut(bbox: list[float], size: tuple[int, int], label: str) -> Box:
    x, y, width, height = bbox
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + width, size[0]), min(y + height, size[1])
    return Box(left, top, right - left, bottom - top, label)
