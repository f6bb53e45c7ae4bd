"""The labels that a cycle's detector, the teacher, gives the pool: what variants learn and are measured by.

A student that has seen half of the labelled images learns from a subset what its teacher knows of it. How far that
brings it, on other images, says which images teach a detector much: no label is spent, the subsets are of the pool
itself, and rewards are measured on as many images as one likes. It does not say where the teacher is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts import read_json
from mgral.data.dataset import Dataset
from mgral.errors import InputError


@dataclass(frozen=True)
class TeacherLabels:
    """What the teacher takes for objects in some images."""

    images: tuple[int, ...]
    """Ids of the images looked at, ascending; some have no object."""
    objects: tuple[dict[str, Any], ...]
    """COCO results: image_id, category_id, bbox [x, y, width, height] in pixels of the original image, score."""

    def to_json(self) -> dict[str, Any]:
        """Return the content of `teacher.json`."""
        return {"images": list(self.images), "objects": list(self.objects)}


def load_teacher(path: Path) -> TeacherLabels:
    """Read `teacher.json`; raises InputError where it is not one."""
    content = read_json(path)
    try:
        return TeacherLabels(tuple(content["images"]), tuple(content["objects"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold a teacher's labels ({error}); run the step `teacher` again") from None


def take_likeliest(detections: Sequence[dict[str, Any]], counts: Mapping[int, int]) -> list[dict[str, Any]]:
    """Return so many detections of each category id, those of highest score, in the order given.

    Of equal scores the earlier are taken; a category without a count has none.
    """
    order = np.argsort([-one["score"] for one in detections], kind="stable").tolist()
    left, taken = dict(counts), []
    for index in order:
        category = detections[index]["category_id"]
        if left.get(category, 0) > 0:
            left[category] -= 1
            taken.append(index)
    return [detections[index] for index in sorted(taken)]


def labelled_by(teacher: TeacherLabels, dataset: Dataset) -> Dataset:
    """Return a data set in which the teacher's images have its objects, and none of their own."""
    label_of = {category.id: label for label, category in enumerate(dataset.categories)}
    boxes, labels = list(dataset.boxes), list(dataset.labels)
    found = _by_image(teacher)
    for image, row in zip(teacher.images, dataset.rows(teacher.images).tolist(), strict=True):
        corners = [(x, y, x + width, y + height) for x, y, width, height in (one["bbox"] for one in found[image])]
        boxes[row] = np.array(corners, dtype=np.float32).reshape(-1, 4)
        labels[row] = np.array([label_of[one["category_id"]] for one in found[image]], dtype=np.int64)
    return replace(dataset, boxes=tuple(boxes), labels=tuple(labels))


def truth_by(teacher: TeacherLabels, truth: Mapping[str, Any]) -> dict[str, Any]:
    """Return a COCO data set, of the teacher's images alone, that holds its objects to be true."""
    wanted = set(teacher.images)
    annotations = [
        {
            "id": number,
            "image_id": one["image_id"],
            "category_id": one["category_id"],
            "bbox": one["bbox"],
            "area": one["bbox"][2] * one["bbox"][3],
            "iscrowd": 0,
        }
        for number, one in enumerate(teacher.objects, start=1)
    ]
    images = [image for image in truth["images"] if image["id"] in wanted]
    return {"images": images, "annotations": annotations, "categories": truth["categories"]}


def _by_image(teacher: TeacherLabels) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {image: [] for image in teacher.images}
    for one in teacher.objects:
        found[one["image_id"]].append(one)
    return found
