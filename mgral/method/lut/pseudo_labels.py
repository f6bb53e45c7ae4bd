"""Pseudo-labels: the cycle's detections in the pool, used as labels to train variants and to measure them.

A base detector is trained on half of the labelled images. A variant of it learns from a subset with pseudo-labels.
Its gain on other images shows how useful the subset is. This costs no label, subsets come from the pool itself, and
rewards can be measured on many images. But errors of the detector that made the pseudo-labels remain unnoticed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.config import Config
from mgral.data.dataset import Dataset
from mgral.data.image_set import ImageSet
from mgral.errors import InputError
from mgral.evaluation.detect import detect_images
from mgral.models.interface import DetectorModel
from mgral.selection.pool import unlabelled

LOWEST_SCORE = 0.01
"""Lowest score of a pseudo-label, even if a class then has fewer objects than expected."""
IMAGES_AT_A_TIME = 4096
"""Number of images to detect objects in at a time: the detections of a large pool would need gigabytes."""


@dataclass(frozen=True)
class PseudoLabels:
    """Objects that a detector found in some images, to be used as their labels."""

    images: tuple[int, ...]
    """Ids of all images that the detector was run on, ascending, including those without an object."""
    objects: tuple[dict[str, Any], ...]
    """COCO results: image_id, category_id, bbox [x, y, width, height] in pixels of the original image, score."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of `pseudo_labels.json`."""
        return {"images": list(self.images), "objects": list(self.objects)}


def load_pseudo_labels(path: Path) -> PseudoLabels:
    """Read `pseudo_labels.json`; raises InputError if the file is not valid."""
    content = read_json(path)
    try:
        return PseudoLabels(tuple(content["images"]), tuple(content["objects"]))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path} does not contain pseudo-labels ({error}); run the step `pseudo_labels` again"
        ) from None


def label_pool(
    config: Config, data: ImageSet, labelled: npt.NDArray[np.int64], detector: DetectorModel
) -> PseudoLabels:
    """Make pseudo-labels for the pool with the cycle's detector, without reading labels of the pool.

    Of each class, the detections with the highest scores become pseudo-labels. Their number is chosen so that an
    image of the pool has as many objects on average as a labelled image.

    Parameters
    ----------
    labelled
        Ids of the labelled images, int64 [n].
    """
    pool = unlabelled(data.dataset.image_ids, labelled)
    dataset = data.dataset.without_labels(pool)
    evaluation = config.evaluation.model_copy(update={"score_threshold": LOWEST_SCORE})
    counts = expected_objects(dataset, labelled, len(pool))
    detections: list[dict[str, Any]] = []
    for start in range(0, len(pool), IMAGES_AT_A_TIME):
        rows = dataset.rows(pool[start : start + IMAGES_AT_A_TIME])
        detections = take_likeliest(
            detections + detect_images(detector, dataset, data.images, rows, evaluation), counts
        )
    return PseudoLabels(tuple(pool.tolist()), tuple(detections))


def expected_objects(data: Dataset, labelled: npt.NDArray[np.int64], images: int) -> dict[int, int]:
    """Return the objects of each category id to expect in `images` images, if they are like the labelled ones."""
    labels = np.concatenate([data.labels[row] for row in data.rows(labelled)])
    counts = np.bincount(labels, minlength=len(data.categories)) * (images / len(labelled))
    return {category.id: round(count) for category, count in zip(data.categories, counts.tolist(), strict=True)}


def take_likeliest(detections: Sequence[dict[str, Any]], counts: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return the `counts` detections of each category id that have the highest scores, in the order given.

    If scores are equal, the earlier detections are taken. Categories without a count are left out.
    """
    order = np.argsort([-detection["score"] for detection in detections], kind="stable").tolist()
    remaining, taken = dict(counts), []
    for index in order:
        category = detections[index]["category_id"]
        if remaining.get(category, 0) > 0:
            remaining[category] -= 1
            taken.append(index)
    return [detections[index] for index in sorted(taken)]


def with_pseudo_labels(pseudo: PseudoLabels, dataset: Dataset) -> Dataset:
    """Return the data set with the labels of the pseudo-labelled images replaced by their pseudo-labels."""
    label_of = {category.id: label for label, category in enumerate(dataset.categories)}
    boxes, labels = list(dataset.boxes), list(dataset.labels)
    by_image = _by_image(pseudo)
    for image, row in zip(pseudo.images, dataset.rows(pseudo.images).tolist(), strict=True):
        corners = [
            (x, y, x + width, y + height)
            for x, y, width, height in (pseudo_label["bbox"] for pseudo_label in by_image[image])
        ]
        boxes[row] = np.array(corners, dtype=np.float32).reshape(-1, 4)
        labels[row] = np.array(
            [label_of[pseudo_label["category_id"]] for pseudo_label in by_image[image]], dtype=np.int64
        )
    return replace(dataset, boxes=tuple(boxes), labels=tuple(labels))


def pseudo_truth(pseudo: PseudoLabels, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return a COCO data set that contains only the pseudo-labelled images, with pseudo-labels as ground truth."""
    image_ids = set(pseudo.images)
    annotations = [
        {
            "id": number,
            "image_id": pseudo_label["image_id"],
            "category_id": pseudo_label["category_id"],
            "bbox": pseudo_label["bbox"],
            "area": pseudo_label["bbox"][2] * pseudo_label["bbox"][3],
            "iscrowd": 0,
        }
        for number, pseudo_label in enumerate(pseudo.objects, start=1)
    ]
    images = [image for image in truth["images"] if image["id"] in image_ids]
    return {"images": images, "annotations": annotations, "categories": truth["categories"]}


def _by_image(pseudo: PseudoLabels) -> dict[int, list[dict[str, Any]]]:
    by_image: dict[int, list[dict[str, Any]]] = {image: [] for image in pseudo.images}
    for pseudo_label in pseudo.objects:
        by_image[pseudo_label["image_id"]].append(pseudo_label)
    return by_image
