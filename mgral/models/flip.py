"""Mirroring of predictions, to compare those on flipped and original images (CSD, Jeong et al. 2019, section 3.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mgral.models.interface import Predictions

Grids = Sequence[tuple[int, int]]


def mirror_cells(values: Tensor, grids: Grids, anchors_a_cell: Sequence[int]) -> Tensor:
    """Swap the left and the right cells of each map; values [B, A, ...] are in the order of the anchors."""
    sizes = [height * width * count for (height, width), count in zip(grids, anchors_a_cell, strict=True)]
    mirrored = [
        part.reshape(len(values), height, width, count, -1).flip(2).reshape(part.shape)
        for part, (height, width), count in zip(torch.split(values, sizes, dim=1), grids, anchors_a_cell, strict=True)
    ]
    return torch.cat(mirrored, dim=1)


class Mirror(nn.Module):
    """Mirrors the predictions of detectors whose anchors are not mirror images of one another.

    The maps of SSD300 reach beyond the image, and RetinaNet's anchors lie on the corners of cells. So the anchor in
    the mirrored cell has the right shape, but is up to a stride away from the mirror image of the anchor. As offsets
    are relative to anchors, the sign of dx is changed and this distance is added. Then decoded boxes are exact mirror
    images of one another.
    """

    shift: Tensor

    def __init__(
        self, anchors: Tensor, grids: Grids, anchors_a_cell: Sequence[int], image_width: int, dx_weight: float
    ) -> None:
        """Take the anchors [A, 4] (x1, y1, x2, y2 in pixels) and the factor by which dx is encoded."""
        super().__init__()
        self.grids, self.anchors_a_cell = grids, anchors_a_cell
        centre = (anchors[:, 0] + anchors[:, 2]) / 2
        mirrored = image_width - mirror_cells(centre[None], grids, anchors_a_cell)[0]
        shift = torch.zeros_like(anchors)
        shift[:, 0] = dx_weight * (mirrored - centre) / (anchors[:, 2] - anchors[:, 0])
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, predictions: Predictions) -> Predictions:
        """Return predictions [B, A, ...] as `DenseModel.mirror` does."""
        logits, offsets = (mirror_cells(part, self.grids, self.anchors_a_cell) for part in predictions)
        return Predictions(logits, offsets * offsets.new_tensor([-1.0, 1.0, 1.0, 1.0]) + self.shift)
