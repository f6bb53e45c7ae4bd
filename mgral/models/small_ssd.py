"""A small SSD for the CPU: torchvision's own SSD on a plain convolutional backbone, trained from scratch."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.pyramid import block, pyramid_layers, top_down
from mgral.models.ssd import PyramidSSD

PIXEL_MEAN, PIXEL_DEVIATION = 117.0, 58.0


class SmallBackbone(nn.Module):
    """Convolutions with a feature pyramid of four maps, at strides 4, 8, 16 and 32 (FPN, Lin et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.out_channels = [2 * c] * 4
        self.stem = block(3, c, 2)
        self.stages = nn.ModuleList(
            [
                block(c, 2 * c, 2),
                nn.Sequential(block(2 * c, 4 * c, 2), block(4 * c, 4 * c, 1)),
                nn.Sequential(block(4 * c, 8 * c, 2), block(8 * c, 8 * c, 1)),
                block(8 * c, 8 * c, 2),
            ]
        )
        self.lateral, self.outputs = pyramid_layers([2 * c, 4 * c, 8 * c, 8 * c], 2 * c)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the maps by name, finest first."""
        values = self.stem(images)
        maps: list[Tensor] = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            values = stage(values)
            maps.append(lateral(values))
        joined = zip(self.outputs, top_down(maps), strict=True)
        return OrderedDict((str(index), output(feature_map)) for index, (output, feature_map) in enumerate(joined))


class SmallSSD(PyramidSSD):
    """Torchvision's SSD on a small backbone, with its input transform done for the complete batch at once."""

    def __init__(self, config: SmallSSDConfig, classes: int) -> None:
        size = (config.height, config.width)
        super().__init__(SmallBackbone(config.channels), size, classes, config.anchor_scales, config.aspect_ratios)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the four maps of the backbone; see `DenseModel.maps`."""
        scaled = (images.float() - PIXEL_MEAN) / PIXEL_DEVIATION
        return list(self.ssd.backbone(scaled.contiguous(memory_format=torch.channels_last)).values())
