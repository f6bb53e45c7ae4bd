"""A feature pyramid, which adds coarser maps to finer ones (FPN, Lin et al. 2017), and detectors' anchors on it."""

from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList

from mgral.compute.device import constant
from mgral.errors import InputError
from mgral.models.flip import mirror_cells
from mgral.models.interface import DenseModel, Predictions


def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Return a convolution of 3 x 3 with batch normalisation and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def pyramid_layers(inputs: Sequence[int], channels: int) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Return 1 x 1 convolutions of each map to `channels`, and normalisations with ReLU for after the addition."""
    lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in inputs)
    outputs = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True)) for _ in inputs)
    return lateral, outputs


def top_down(maps: Sequence[Tensor]) -> list[Tensor]:
    """Add to each map, finest first, the sum of the coarser ones."""
    joined = list(maps)
    for finer in reversed(range(len(maps) - 1)):
        joined[finer] = joined[finer] + _enlarge(joined[finer + 1], joined[finer])
    return joined


def _enlarge(coarse: Tensor, like: Tensor) -> Tensor:
    """Upsample to the size of `like` by nearest-exact, which gives mirrored results for mirrored maps."""
    return F.interpolate(coarse, size=like.shape[2:], mode="nearest-exact")


def anchor_generator(scales: Sequence[float], ratios: Sequence[float]) -> DefaultBoxGenerator:
    """Return SSD's anchors for maps, finest first (Liu et al. 2016, section 2.2).

    Parameters
    ----------
    scales
        Anchor size on each map, and one past the last, as fractions of the image.
    ratios
        Aspect ratios beside 1; each stands for itself and its inverse.
    """
    return DefaultBoxGenerator([list(ratios) for _ in scales[1:]], scales=list(scales))


class CentredAnchors(DenseModel):
    """Anchors in the centres of equal cells, so that those of mirrored cells are each other's mirror images."""

    def lay_anchors(self, generator: DefaultBoxGenerator) -> None:
        """Set grids and anchors by the sizes of the feature maps; raises InputError for an unfit image size."""
        # On the device `meta`, without values: a real forward pass takes longer than all the rest.
        meta_detector = deepcopy(self).to("meta").eval()
        try:
            with torch.no_grad():
                maps = meta_detector.maps(torch.empty(1, 3, *self.size, device="meta"))
        except (AssertionError, RuntimeError) as error:  # of networks that are made for some sizes
            height, width = self.size
            raise InputError(
                f"detector.width: the backbone takes no images of {width} x {height} ({error}); give another "
                "detector.width and detector.height, or another backbone"
            ) from None
        self.grids = [(int(feature_map.shape[2]), int(feature_map.shape[3])) for feature_map in maps]
        self.anchors_a_cell = generator.num_anchors_per_location()
        image = ImageList(torch.zeros(1, 3, *self.size), [self.size])
        empty_maps = [torch.empty(1, 1, *grid) for grid in self.grids]
        self.register_buffer("anchors", generator(image, empty_maps)[0], persistent=False)

    def mirror(self, predictions: Predictions) -> Predictions:
        """Swap left and right anchors and turn the sign of dx (CSD, Jeong et al. 2019, section 3.1)."""
        logits, offsets = (mirror_cells(part, self.grids, self.anchors_a_cell) for part in predictions)
        return Predictions(logits, offsets * constant((-1.0, 1.0, 1.0, 1.0), offsets.device))
