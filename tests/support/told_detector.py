"""A detector that says of each image what it was told, so that the right choice of a strategy is known."""

import numpy as np
import torch
from torch import nn

from mgral.config import Config
from mgral.data.dataset import Category, Dataset
from mgral.data.images import Images
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.interface import DenseModel, Predictions
from mgral.selection.query import Query

SIDE = 8
"""Width and height of the images, in pixels."""


class ToldDetector(DenseModel):
    """Image i, most of the middle of which is i, has anchors with the distributions and boxes told for it.

    Its anchors lie in a row, so that mirroring turns their order.
    """

    device = torch.device("cpu")
    size = (SIDE, SIDE)

    def __init__(self, distributions, boxes, class_maps=()):
        """Take [N, A, C + 1], [N, A, 4], and [N, F, h, w] a level; the anchors are shared out equally to levels."""
        super().__init__()
        self.logits, self.told_boxes = distributions.clamp_min(1e-9).log(), boxes
        self.told_class_maps = class_maps
        self.grids = [(1, 1)] * len(class_maps)
        self.anchors_a_cell = [boxes.shape[1] // len(class_maps) for _ in class_maps]
        self.class_quality = nn.Module()
        self.class_quality.register_buffer("values", torch.ones(distributions.shape[2] - 1))

    # What no strategy asks of it.
    pretrained = loss = match = decode = encode = None

    def maps(self, images):
        return [images.float()]

    def predict(self, maps):
        rows = self._rows(maps)
        return Predictions(self.logits[rows], self.told_boxes[rows])

    def class_maps(self, maps):
        return [told[self._rows(maps)] for told in self.told_class_maps]

    def _rows(self, maps):
        middle = maps[0][..., SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4]
        return middle.flatten(1).median(1).values.round().long()

    def boxes(self, offsets):
        return offsets

    def class_probabilities(self, logits):
        return logits.softmax(-1)

    def mirror(self, predictions):
        return Predictions(*(part.flip(1) for part in predictions))


def far_apart(images, anchors):
    """Return boxes [images, anchors, 4] that do not overlap."""
    left = torch.arange(anchors) * 4.0
    box = torch.stack([left, torch.zeros(anchors), left + 2, torch.full((anchors,), 2.0)], 1)
    return box.expand(images, anchors, 4)


def told_query(
    distributions, *, boxes=None, class_maps=(), scale=1, budget=1, labelled=(), detector=None, side=SIDE, **settings
):
    """Return a query over N images of which the detector says `distributions`, [N, A, C + 1] or lists of them.

    The original images are `scale` times as large as what the detector is shown of them. `detector` is the
    configuration, which decides about the canvas of `side` pixels.
    """
    told = torch.as_tensor(distributions, dtype=torch.float32)
    count, anchors, width = told.shape
    boxes = far_apart(count, anchors) if boxes is None else torch.as_tensor(boxes, dtype=torch.float32)
    pixels = np.arange(count, dtype=np.uint8)[:, None, None, None]
    no_boxes = tuple(np.zeros((0, 4), np.float32) for _ in range(count))
    no_labels = tuple(np.zeros(0, np.int64) for _ in range(count))
    names = tuple(f"{i}.png" for i in range(count))
    classes = tuple(Category(i + 1, f"class {i}") for i in range(width - 1))
    sizes = np.full((count, 2), SIDE) * scale
    dataset = Dataset(np.arange(count), names, sizes, classes, no_boxes, no_labels)
    pool = np.setdiff1d(np.arange(count), labelled)
    config = Config(detector=detector or SmallSSDConfig(width=SIDE, height=SIDE), budget=budget)
    images = Images(np.broadcast_to(pixels, (count, side, side, 3)), sizes, config.detector.image_canvas)
    told_by = ToldDetector(told, boxes, class_maps)
    given = {"seed": 0, "cycle": 0, "config": config, "images": images, "detector": told_by} | settings
    return Query(dataset, np.array(labelled, dtype=np.int64), pool, **given)
