"""What a detector of the user's own found, as files: COCO results and feature vectors, checked in one pass."""

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_arrays, read_json
from mgral.artefacts.integrity import verify_file
from mgral.data.dataset import Dataset, find_rows
from mgral.data.findings import Finding, Findings
from mgral.data.values import number, whole
from mgral.errors import InputError

SUM_TOLERANCE = 0.01
"""Largest deviation of a sum of probabilities from 1, as in half precision; they are scaled to the sum 1."""
ROUNDING = 0.05
"""Pixels by which a box may leave its image without a count."""

MISSING = Finding("files are missing or cannot be read", "let the command write them to {output}")
NO_LIST = Finding("files are no list of results", "write a JSON list of objects, [] where nothing was found")
NO_RESULT = Finding("results are no objects", "write each as {image_id, category_id, bbox, score}")
UNKNOWN_IMAGE = Finding("results name an image that is not in the list of their file", "write the image's own id")
UNKNOWN_CLASS = Finding("results name an unknown category", "write an id of `categories`")
NO_SCORE = Finding("scores are not within 0..1", "write a number from 0 to 1")
NO_BOX = Finding(
    "boxes are not four numbers", "write bbox as [x, y, width, height] in pixels, 0 or more wide and high"
)
OUTSIDE = Finding(
    "boxes lie outside of their image", "write pixels of the image as it is listed, from its top left corner"
)
FRACTIONS = Finding("files have most of their boxes within the first pixel", "write pixels; these are fractions")
NO_PROBABILITIES = Finding(
    "results have no valid probabilities",
    "write C + 1 numbers from 0 to 1 with the sum 1: of the background, then of `categories` in their order; or take "
    "`probabilities` out of detector.gives",
)
NO_FEATURES = Finding(
    "features are faulty", "write features.npz with `image_ids` [N] and `features` [N, F], finite, of all images once"
)
EDGE = Finding("boxes reach over the edge of their image", "clipped; if they are many, were corners given for sizes?")
EMPTY = Finding("boxes have no area", "left out")


class FoundBoxes(NamedTuple):
    """The boxes found in N images, by image, in each the best first."""

    rows: npt.NDArray[np.int64]
    """int64 [n]: the image of each, as a row of its data set."""
    boxes: npt.NDArray[np.float32]
    """float32 [n, 4]: x1, y1, x2, y2 in pixels of the original image."""
    scores: npt.NDArray[np.float32]
    """float32 [n], in 0..1."""
    labels: npt.NDArray[np.int64]
    """int64 [n]: indices into the data set's categories."""
    distributions: npt.NDArray[np.float32]
    """float32 [n, C + 1], of the background first; [n, 0] where none are given."""

    def only(self, chosen: npt.NDArray[Any] | slice) -> "FoundBoxes":
        """Return some of the boxes, by a mask or by places."""
        rows, boxes, scores, labels, distributions = self
        return FoundBoxes(rows[chosen], boxes[chosen], scores[chosen], labels[chosen], distributions[chosen])

    def above(self, score: float, max_boxes: int) -> "FoundBoxes":
        """Return the boxes above a score, and of each image at most `max_boxes`, the best."""
        boxes = self.only(self.scores > score)
        before = np.searchsorted(boxes.rows, boxes.rows)  # boxes of earlier images
        return boxes.only(np.arange(len(boxes.rows)) - before < max_boxes)

    def of_row(self, row: int) -> "FoundBoxes":
        """Return the boxes of one image."""
        return self.only(slice(*np.searchsorted(self.rows, [row, row + 1])))


def read_found(
    path: Path, dataset: Dataset, image_ids: npt.NDArray[np.int64], probabilities: bool, findings: Findings
) -> FoundBoxes:
    """Read COCO results and note all faults; results with a fault are left out.

    Parameters
    ----------
    path
        JSON of a list of `image_id`, `category_id`, `bbox` [x, y, width, height] and `score`.
    image_ids
        The images of the data set that it may name.
    probabilities
        Whether each result needs `probabilities`, C + 1 numbers.
    """
    boxes = list(_checked_boxes(path, dataset, set(image_ids.tolist()), probabilities, findings))
    boxes.sort(key=lambda box: (box.row, -box.score))
    width = len(dataset.categories) + 1 if probabilities else 0
    distributions = np.array([box.distribution for box in boxes], np.float64).reshape(len(boxes), width)
    if width:
        distributions /= distributions.sum(axis=1, keepdims=True)
    return FoundBoxes(
        np.array([box.row for box in boxes], np.int64),
        np.array([box.box for box in boxes], np.float32).reshape(-1, 4),
        np.array([box.score for box in boxes], np.float32),
        np.array([box.label for box in boxes], np.int64),
        distributions.astype(np.float32),
    )


class _Box(NamedTuple):
    row: int
    box: tuple[float, float, float, float]
    score: float
    label: int
    distribution: list[float]


def _checked_boxes(
    path: Path, dataset: Dataset, image_ids: set[int], probabilities: bool, findings: Findings
) -> Iterator[_Box]:
    """Yield the results without a fault, clipped to their images, and note what is wrong with the others."""
    try:
        results = read_json(path)
    except InputError as error:
        findings.fault(MISSING, str(error))
        return
    if not isinstance(results, list):
        findings.fault(NO_LIST, str(path))
        return
    row_of = {image: row for row, image in enumerate(dataset.image_ids.tolist()) if image in image_ids}
    label_of = {category.id: label for label, category in enumerate(dataset.categories)}
    tiny = 0
    for index, result in enumerate(results):
        place = f"{path}: result {index}"
        if not isinstance(result, dict):
            findings.fault(NO_RESULT, place)
            continue
        row = _index_of_id(result, "image_id", row_of, UNKNOWN_IMAGE, place, findings)
        label = _index_of_id(result, "category_id", label_of, UNKNOWN_CLASS, place, findings)
        score = _plain_number(result.get("score"))
        if score is None or not 0 <= score <= 1:
            findings.fault(NO_SCORE, f"{place}: score {result.get('score')!r}")
        distribution = _distribution(result, len(dataset.categories) + 1) if probabilities else []
        if distribution is None:
            findings.fault(NO_PROBABILITIES, f"{place}: probabilities {result.get('probabilities')!r}")
        box = _box(result.get("bbox"))
        if box is None:
            findings.fault(NO_BOX, f"{place}: bbox {result.get('bbox')!r}")
            continue
        tiny += max(box) <= 1
        if row is None:
            continue
        size = dataset.sizes[row].tolist()
        clipped = _clip(box, size, f"{place}: bbox {result['bbox']} in {size[0]} x {size[1]} pixels", findings)
        if clipped and label is not None and score is not None and distribution is not None:
            yield _Box(row, clipped, score, label, distribution)
    if 2 * tiny > len(results):
        findings.fault(FRACTIONS, f"{path}: {tiny} of {len(results)}")


def _index_of_id(
    result: dict[str, Any], key: str, index_of: dict[int, int], kind: Finding, place: str, findings: Findings
) -> int | None:
    """Return the row or the label that the id in a result stands for; None, noted, where there is no such id."""
    value = result.get(key)
    identifier = None if isinstance(value, str) else whole(value)
    index = None if identifier is None else index_of.get(identifier)
    if index is None:
        findings.fault(kind, f"{place}: {key} {value!r}")
    return index


def _plain_number(value: object) -> float | None:
    """Return a finite number; None for anything else, also for a number as text."""
    return None if isinstance(value, str) else number(value)


def _numbers(values: object, length: int) -> list[float] | None:
    """Return a list of so many numbers; None for anything else."""
    if not isinstance(values, list) or len(values) != length:
        return None
    numbers = [value for value in map(_plain_number, values) if value is not None]
    return numbers if len(numbers) == length else None


def _box(values: object) -> list[float] | None:
    """Return x, y, width, height; None for anything else."""
    box = _numbers(values, 4)
    return None if box is None or min(box[2:]) < 0 else box


def _distribution(result: dict[str, Any], length: int) -> list[float] | None:
    """Return the probabilities of a result; None where they are not valid."""
    distribution = _numbers(result.get("probabilities"), length)
    if distribution is None or min(distribution) < 0 or abs(sum(distribution) - 1) > SUM_TOLERANCE:
        return None
    return distribution


def _clip(
    box: list[float], size: list[int], place: str, findings: Findings
) -> tuple[float, float, float, float] | None:
    """Return x1, y1, x2, y2 within the image; None, noted, where nothing is left."""
    x, y, width, height = box
    if width == 0 or height == 0:
        findings.repair(EMPTY, place)
        return None
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, size[0]), min(y + height, size[1])
    if left >= right or top >= bottom:
        findings.fault(OUTSIDE, place)
        return None
    if max(left - x, top - y, x + width - right, y + height - bottom) > ROUNDING:
        findings.repair(EDGE, place)
    return left, top, right, bottom


def read_features(path: Path, dataset: Dataset, findings: Findings) -> npt.NDArray[np.float32]:
    """Read a feature vector for each image, float32 [N, F] in the order of the data set, noting what is wrong."""
    nothing = np.empty((len(dataset.image_ids), 0), np.float32)
    try:
        verify_file(path)
        arrays = np.load(path, allow_pickle=False)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it contains a single array; write it by numpy.savez, with image_ids and features")
        with arrays:
            ids, features = arrays["image_ids"], arrays["features"]
    except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        findings.fault(MISSING, f"{path}: {getattr(error, 'strerror', None) or error}")
        return nothing
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or features.dtype.kind not in "iuf":
        findings.fault(NO_FEATURES, f"{path}: image_ids are {ids.dtype} {list(ids.shape)}, features {features.dtype}")
        return nothing
    if features.ndim != 2 or len(features) != len(ids) or features.shape[1] == 0:
        findings.fault(NO_FEATURES, f"{path}: {list(features.shape)} features of {len(ids)} image ids")
        return nothing
    ids = ids.astype(np.int64)
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)  # beyond whose range numbers are infinite
    distinct, counts = np.unique(ids, return_counts=True)
    wrong: dict[str, Callable[[], npt.NDArray[np.int64]]] = {
        "images lack features": lambda: np.setdiff1d(dataset.image_ids, ids),
        "images are not in the list": lambda: np.setdiff1d(ids, dataset.image_ids),
        "images are there more than once": lambda: distinct[counts > 1],
        "images have features that are not finite": lambda: ids[~np.isfinite(features).all(axis=1)],
    }
    faulty = False
    for problem, find_images in wrong.items():
        if len(image_ids := find_images()):
            findings.fault(NO_FEATURES, f"{path}: {len(image_ids)} {problem}: {json.dumps(image_ids[:5].tolist())}")
            faulty = True
    return nothing if faulty else features[find_rows(ids, dataset.image_ids)[0]]


def join(parts: Sequence[FoundBoxes]) -> FoundBoxes:
    """Return the boxes of several sets of images of a data set as one, in the order of the data set."""
    rows, boxes, scores, labels, distributions = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return FoundBoxes(rows, boxes, scores, labels, distributions).only(np.argsort(rows, kind="stable"))


def found_arrays(
    test: FoundBoxes, train: FoundBoxes | None, features: npt.NDArray[np.float32] | None
) -> dict[str, npt.NDArray[Any]]:
    """Return the content of external.safetensors: what was found in both splits, and the features [N, F]."""
    splits = {"test": test} | ({"train": train} if train else {})
    arrays = {f"{split}.{name}": array for split, boxes in splits.items() for name, array in boxes._asdict().items()}
    return arrays if features is None else {**arrays, "features": features}


def load_found(path: Path, split: str) -> FoundBoxes:
    """Read the boxes found in the split `train` or `test`; raises InputError if the file has none."""
    arrays = read_arrays(path)
    return FoundBoxes(*(_array(path, arrays, f"{split}.{name}") for name in FoundBoxes._fields))


def load_features(path: Path) -> npt.NDArray[np.float32]:
    """Read the features of all training images, float32 [N, F]; raises InputError where the file has none."""
    return _array(path, read_arrays(path), "features")


def _array(path: Path, arrays: dict[str, npt.NDArray[Any]], name: str) -> npt.NDArray[Any]:
    if name not in arrays:
        raise InputError(f"{path} contains no {name}; delete it and run the step `external` again")
    return arrays[name]
