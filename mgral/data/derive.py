"""Settings of a detector that follow from the data: input size, anchors, and lengths of trainings.

The input size follows from the sizes of the images alone, so that one cache serves all repetitions. The rest follows
from the boxes of the initially labelled images of a repetition, which are paid for, and from no other label.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.files import read_json
from mgral.config import Config, DetectorConfig
from mgral.config.canvas import MOST_PIXELS
from mgral.data.dataset import Dataset

Array = npt.NDArray[np.float64]
Derived = dict[str, dict[str, Any]]
"""Values by section and setting, as the steps `input_size` and `derive` write them."""

DERIVED = "derived.json"
"""File of the step `derive` in the folder of a repetition."""
MULTIPLE = 32
"""Stride of the coarsest map: sides of an input size are multiples of it."""
USUAL_SIZES, USUAL_RATIO = (0.08, 0.8), 2.0
"""Size of the smallest and the largest box, relative to the image, and aspect ratio, if there are no boxes. If there
are boxes, each of these counts as one box more, so that a few boxes alone decide nothing."""
TAIL = 0.01
"""Fraction of the boxes that may be smaller than the smallest anchor scale; as many may exceed the largest."""
SMALLEST, LARGEST, STEP = 2.5, 0.95, 1.2
"""Bounds of anchor scales. Each is at least `SMALLEST` strides of its map, as smaller anchors leave gaps between the
cells, at most `LARGEST` relative to the image, and at least `STEP` times the scale before it."""
ELONGATED, LEAST_RATIO, MOST_RATIO = 0.8, 1.3, 8.0
"""Quantile of the boxes' aspect ratios that becomes the anchors' ratio, and the bounds of this ratio. There is always
one ratio, so that the network has the same number of outputs with every seed."""
RECALL_IOU = 0.5
"""IoU with an anchor from which a box counts as one that can be found."""
ITERATIONS, AT_IMAGES, EXPONENT = 500, 100, 0.75
"""Iterations of the first detector for `AT_IMAGES` labelled images with boxes, and the exponent of their growth. On
Aquarium 500 for 100 images and 1,500 for all 448 were tried: EfficientNet-Lite0, ImageNet weights, batches of 16."""
FEWEST, MOST = 150, 20_000
"""Bounds of these iterations."""
BASE, VARIANT = 0.5, 0.15
"""Iterations of the base detector and of a variant, as parts of those of the first detector."""


class Lengths(NamedTuple):
    """Iterations of each kind of training."""

    detector: int
    base: int
    variant: int


def derive_input_size(sizes: npt.NDArray[np.int64]) -> tuple[int, int]:
    """Return the width and height at which images of the given sizes [N, 2] are shown to a detector, in pixels.

    Both are multiples of 32, at least 32 and otherwise at most those of the median image, and their product is at
    most `MOST_PIXELS`. Among these sizes the smaller of the two scale factors is made as large as possible; of equal
    ones the size with the fewest pixels is taken.
    """
    width, height = (max(1, int(side)) for side in np.median(sizes, axis=0))
    widths, heights = (range(MULTIPLE, max(MULTIPLE, side) + 1, MULTIPLE) for side in (width, height))
    candidates = [(w, h) for w in widths for h in heights if w * h <= MOST_PIXELS]
    return max(candidates, key=lambda size: (min(size[0] * height, size[1] * width), -size[0] * size[1]))


def derive_scales(shapes: Array, strides: Sequence[int], size: tuple[int, int]) -> tuple[float, ...]:
    """Return an anchor scale for each map, and one past the last, ascending, relative to the image.

    They rise by equal factors from the size (root of the area) of the smallest boxes to that of the largest, within
    the bounds `SMALLEST`, `LARGEST` and `STEP`.

    Parameters
    ----------
    shapes
        Width and height of the boxes, relative to the image (0..1), [n, 2].
    strides
        Strides of the maps, finest first, in pixels.
    size
        Width and height of the input, in pixels.
    """
    count, side = len(strides) + 1, np.sqrt(np.prod(size))
    sides = np.log([*np.sqrt(shapes.prod(axis=1)), *USUAL_SIZES])
    smallest, largest = np.quantile(sides, (TAIL, 1 - TAIL), method="hazen")
    scales = np.exp(np.linspace(smallest, largest, count))
    scales = np.maximum(scales, SMALLEST * np.array([*strides, 0]) / side)
    for index in range(1, count):
        scales[index] = max(scales[index], STEP * scales[index - 1])
    bounded = np.minimum(scales, LARGEST / STEP ** np.arange(count)[::-1])
    return tuple(bounded.round(3).tolist())


def derive_ratios(shapes: Array) -> tuple[float, ...]:
    """Return the anchors' aspect ratio beside 1 and its inverse, a tuple of one, for boxes with shapes [n, 2]."""
    elongated = [*np.abs(np.log(shapes[:, 0] / shapes[:, 1])), np.log(USUAL_RATIO)]
    ratio = np.exp(np.quantile(elongated, ELONGATED, method="hazen")).clip(LEAST_RATIO, MOST_RATIO)
    return (float(ratio.round(2)),)


def derive_lengths(images: int) -> Lengths:
    """Return the iterations of each kind of training, given the number of initially labelled images with boxes."""
    detector = min(max(ITERATIONS * (images / AT_IMAGES) ** EXPONENT, FEWEST), MOST)
    return Lengths(*(round(part * detector) for part in (1, BASE, VARIANT)))


def derive_from_images(config: Config, sizes: npt.NDArray[np.int64]) -> Derived:
    """Return what follows from the sizes [N, 2] of all training and test images, where it is not set."""
    if "width" not in config.detector.open_keys:
        return {}
    return {"detector": dict(zip(("width", "height"), derive_input_size(sizes), strict=True))}


def derive_from_labels(config: Config, train: Dataset, labelled: npt.ArrayLike) -> Derived:
    """Return what follows from the initially labelled images: anchors where none are set, and iterations.

    Parameters
    ----------
    config
        The experiment, whose input size must be set or derived already.
    train
        The training images; only boxes of labelled images are read.
    labelled
        Ids of the initially labelled images, int64 [n].
    """
    boxes, detector = relative_boxes(train, labelled), config.detector
    shapes = boxes[:, 2:] - boxes[:, :2]
    anchors: dict[str, Any] = {}
    if "anchor_scales" in detector.open_keys:
        anchors["anchor_scales"] = derive_scales(shapes, detector.anchor_strides, detector.image_canvas.input_size)
    if "aspect_ratios" in detector.open_keys:
        anchors["aspect_ratios"] = derive_ratios(shapes)
    # Also iterations that are set: so setting one changes nothing here, and only trainings that use it run again.
    lengths = derive_lengths(sum(len(train.labels[row]) > 0 for row in train.rows(labelled)))
    return {"detector": anchors, "iterations": lengths._asdict()}


def derive_settings(config: Config, train: Dataset, test: Dataset, labelled: npt.ArrayLike) -> Config:
    """Return the experiment with everything derived that is null: what the steps `input_size` and `derive` do.

    Parameters
    ----------
    train, test
        Of the test images only the sizes are read, of the training images the boxes of those that are labelled too.
    labelled
        Ids of the initially labelled images, int64 [n].
    """
    sized = config.with_derived(derive_from_images(config, np.concatenate([train.sizes, test.sizes])))
    return sized.with_derived(derive_from_labels(sized, train, labelled))


def assume_settings(config: Config) -> Config:
    """Return the experiment with its null settings filled in without data: the largest input size, usual anchors.

    The network has weights of the same shapes as with settings derived from data.
    """
    size, empty, strides = config.detector.largest_canvas.input_size, np.empty((0, 2)), config.detector.anchor_strides
    anchors = {"anchor_scales": derive_scales(empty, strides, size), "aspect_ratios": derive_ratios(empty)}
    detector = dict(zip(("width", "height"), size, strict=True)) | anchors
    return config.with_derived({"detector": detector, "iterations": derive_lengths(config.initial)._asdict()})


def settings_lines(config: Config, derived_config: Config, train: Dataset, labelled: npt.ArrayLike) -> list[str]:
    """Return what a person should see before a training, as lines: sizes, anchors, their reach, iterations.

    Parameters
    ----------
    config, derived_config
        The experiment as it is configured, and with everything derived that is null there.
    labelled
        Ids of the initially labelled images, int64 [n].
    """

    def shown(section: str, key: str) -> str:
        settings = derived_config.detector.trained if section == "detector" else getattr(derived_config, section)
        value, derived = getattr(settings, key), key in config.open_keys.get(section, ())
        text = ", ".join(f"{number:g}" for number in (value if isinstance(value, tuple) else [value]))
        return f"{text} ({'derived' if derived else 'set'})"

    detector, boxes = derived_config.detector.trained, relative_boxes(train, labelled)
    width, height = detector.image_canvas.input_size
    size = "derived" if "width" in config.detector.open_keys else "set"
    median = " x ".join(f"{side:g}" for side in np.median(train.sizes, axis=0))
    lines = [f"input size: {width} x {height} pixels ({size}; the median training image is {median})"]
    if len(boxes):
        sides = " x ".join(f"{side:.0f}" for side in np.median(boxes[:, 2:] - boxes[:, :2], axis=0) * (width, height))
        lines.append(f"boxes: the median of {len(boxes)} is {sides} pixels at this size")
    if detector.anchor_strides:
        lines += [f"{key.replace('_', ' ')}: {shown('detector', key)}" for key in ("anchor_scales", "aspect_ratios")]
    if detector.anchor_strides and len(boxes):
        recall = 100 * best_possible_recall(detector, boxes)
        lines.append(
            f"best possible recall: {recall:.1f} % of the boxes have an anchor of IoU {RECALL_IOU:g} or more"
        )
    lines.append("iterations: " + ", ".join(f"{key} {shown('iterations', key)}" for key in Lengths._fields))
    return lines


def load_settings(config: Config, results: Path, seed: int) -> Config:
    """Return the experiment as a repetition has it, by the file of the step `derive` in the folder of its results."""
    return load_derived(config, [results / f"seed{seed}" / DERIVED]) if config.open_keys else config


def load_derived(config: Config, files: Iterable[Path]) -> Config:
    """Return the experiment with the values that the steps `input_size` and `derive` wrote, where it has null."""
    for file in files:
        config = config.with_derived(read_json(file))
    return config


def relative_boxes(dataset: Dataset, image_ids: npt.ArrayLike) -> Array:
    """Return the boxes of the given images in relative coordinates, x1, y1, x2, y2 in 0..1, float64 [n, 4].

    Boxes are clipped to the image, and boxes without area are left out.
    """
    rows = dataset.rows(image_ids).tolist()
    parts = [dataset.boxes[row] / np.tile(dataset.sizes[row], 2).astype(np.float64) for row in rows]
    boxes = np.concatenate([np.empty((0, 4)), *parts]).clip(0, 1)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]


def best_possible_recall(detector: DetectorConfig, boxes: Array) -> float:
    """Return the fraction of boxes [n, 4] in relative coordinates that an anchor overlaps by an IoU of 0.5 or more.

    Of each map the nearest cell to a box's centre counts, with all shapes of its anchors (Liu et al. 2016, section
    2.2): squares of its scale and of the geometric mean with the next one, and each aspect ratio in both directions.
    """
    width, height = detector.image_canvas.input_size
    scales, ratios = (getattr(detector, key) for key in ("anchor_scales", "aspect_ratios"))
    best = np.zeros(len(boxes))
    for stride, scale, next_scale in zip(detector.anchor_strides, scales[:-1], scales[1:], strict=True):
        cells = np.ceil(np.array([width, height]) / stride)
        centres = (np.clip(np.floor((boxes[:, :2] + boxes[:, 2:]) / 2 * cells), 0, cells - 1) + 0.5) / cells
        elongated = [scale * np.sqrt([ratio, 1 / ratio]) for ratio in ratios]
        shapes = [np.full(2, scale), np.full(2, np.sqrt(scale * next_scale))]
        for shape in [*shapes, *elongated, *(sides[::-1] for sides in elongated)]:
            half = np.minimum(shape, 1) / 2
            best = np.maximum(best, _overlap(boxes, np.concatenate([centres - half, centres + half], axis=1)))
    return float((best >= RECALL_IOU).mean())


def _overlap(boxes: Array, others: Array) -> Array:
    """Return the IoU of two lists of boxes [n, 4], pair by pair, [n]."""
    shared = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    intersection = shared.clip(0).prod(axis=1)
    areas = [(array[:, 2:] - array[:, :2]).prod(axis=1) for array in (boxes, others)]
    overlap: Array = intersection / (sum(areas) - intersection)
    return overlap
