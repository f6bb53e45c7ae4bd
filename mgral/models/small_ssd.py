"""A small SSD for the CPU: torchvision's own SSD on a plain convolutional backbone, trained from scratch."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD

from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.flip import mirror_cells
from mgral.models.interface import Predictions
from mgral.models.quality import ClassQuality
from mgral.models.ssd import TorchvisionSSD

PIXEL_MEAN, PIXEL_DEVIATION = 117.0, 58.0
MATCH_IOU = 0.4
"""Overlap from which an anchor is matched to a box. SSD's 0.5 leaves many small boxes a single anchor."""
BACKGROUND_BIAS = 4.0
"""Initial logit of the background, as nearly every anchor is that (RetinaNet, Lin et al. 2017, section 4.1);
from zero, a short training spends its start on learning it."""


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _enlarge(coarse: Tensor, like: Tensor) -> Tensor:
    """Repeat values up to the size of `like`; exact, so that a mirrored map is enlarged to the mirrored one."""
    return F.interpolate(coarse, size=like.shape[2:], mode="nearest-exact")


class SmallBackbone(nn.Module):
    """Four maps at strides 4, 8, 16 and 32; each adds what the coarser ones know (FPN, Lin et al. 2017)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.out_channels = [2 * c] * 4
        self.stem = _block(3, c, 2)
        self.stages = nn.ModuleList(
            [
                _block(c, 2 * c, 2),
                nn.Sequential(_block(2 * c, 4 * c, 2), _block(4 * c, 4 * c, 1)),
                nn.Sequential(_block(4 * c, 8 * c, 2), _block(8 * c, 8 * c, 1)),
                _block(8 * c, 8 * c, 2),
            ]
        )
        self.lateral = nn.ModuleList(nn.Conv2d(inputs, 2 * c, 1) for inputs in (2 * c, 4 * c, 8 * c, 8 * c))
        self.outputs = nn.ModuleList(nn.Sequential(nn.BatchNorm2d(2 * c), nn.ReLU(inplace=True)) for _ in range(4))

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Return the maps by name, finest first."""
        values = self.stem(images)
        maps: list[Tensor] = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            values = stage(values)
            maps.append(lateral(values))
        for finer in (2, 1, 0):
            maps[finer] = maps[finer] + _enlarge(maps[finer + 1], maps[finer])
        return OrderedDict((str(i), output(m)) for i, (output, m) in enumerate(zip(self.outputs, maps, strict=True)))


class SmallSSD(TorchvisionSSD):
    """Torchvision's SSD on a small backbone, with its input transform done for the whole batch at once."""

    def __init__(self, config: SmallSSDConfig, classes: int) -> None:
        super().__init__()
        self.class_quality = ClassQuality(classes)
        ratios = [list(config.aspect_ratios) for _ in config.anchor_scales[1:]]
        self.size = (config.height, config.width)
        self.ssd = SSD(
            SmallBackbone(config.channels),
            DefaultBoxGenerator(ratios, scales=list(config.anchor_scales)),
            size=(config.width, config.height),  # which its input transform takes for width and height
            num_classes=classes + 1,
            iou_thresh=MATCH_IOU,
        )
        for convolution in self.ssd.head.classification_head.module_list:
            nn.init.constant_(convolution.bias.view(-1, classes + 1)[:, 0], BACKGROUND_BIAS)
        self.anchors_a_cell = self.ssd.anchor_generator.num_anchors_per_location()
        self.to(memory_format=torch.channels_last)
        self.eval()  # the sizes of the maps are wanted, not their statistics
        with torch.no_grad():
            maps = self.maps(torch.zeros(1, 3, *self.size))
        self.train()
        self.grids = [(int(m.shape[2]), int(m.shape[3])) for m in maps]
        image = ImageList(torch.zeros(1, 3, *self.size), [self.size])
        self.register_buffer("anchors", self.ssd.anchor_generator(image, maps)[0], persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the four maps of the backbone; see `DenseModel.maps`."""
        scaled = (images.float() - PIXEL_MEAN) / PIXEL_DEVIATION
        return list(self.ssd.backbone(scaled.contiguous(memory_format=torch.channels_last)).values())

    def predict(self, maps: list[Tensor]) -> Predictions:
        """Predict every anchor; see `DenseModel.predict`."""
        head = self.ssd.head
        logits, offsets = [], []
        # Both heads read the same map: one convolution with the filters of both costs less than two.
        for m, to_logits, to_offsets in zip(
            maps, head.classification_head.module_list, head.regression_head.module_list, strict=True
        ):
            weight = torch.cat([to_logits.weight, to_offsets.weight])
            both = F.conv2d(m, weight, torch.cat([to_logits.bias, to_offsets.bias]), padding=1)
            parts = both.permute(0, 2, 3, 1).tensor_split([len(to_logits.bias)], dim=3)
            logits.append(parts[0].reshape(len(m), -1, head.classification_head.num_columns))
            offsets.append(parts[1].reshape(len(m), -1, head.regression_head.num_columns))
        return Predictions(torch.cat(logits, 1), torch.cat(offsets, 1))

    def mirror(self, predictions: Predictions) -> Predictions:
        """Swap left and right anchors and turn the sign of dx (CSD, Jeong et al. 2019, section 3.1)."""
        sign = predictions.offsets.new_tensor([-1.0, 1.0, 1.0, 1.0])
        return Predictions(self._mirror_anchors(predictions.logits), self._mirror_anchors(predictions.offsets) * sign)

    def _mirror_anchors(self, values: Tensor) -> Tensor:
        return mirror_cells(values, self.grids, self.anchors_a_cell)
