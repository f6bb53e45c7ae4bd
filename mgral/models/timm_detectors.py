"""SSD and RetinaNet on any backbone of timm's."""

import re
from abc import abstractmethod
from functools import partial
from math import gcd

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.retinanet import RetinaNetHead

from mgral.models.backbone import Backbone, BackbonePyramid
from mgral.models.detectors.timm import SSDConfig, TimmConfig, TimmRetinaNetConfig
from mgral.models.pyramid import CentredAnchors, anchor_generator
from mgral.models.quality import ClassQuality
from mgral.models.retinanet import TorchvisionRetinaNet
from mgral.models.ssd import PyramidSSD

IN_STAGE = r"^\w+\.backbone\.body\.stages\.\d+\."
"""Prefix that a detector's names of weights have before timm's names."""
GROUPS = 8
"""Groups of the group normalisation in RetinaNet's head; fewer if the channels cannot be divided by this."""


class OnBackbone(CentredAnchors):
    """A detector on the feature pyramid of a backbone.

    Backbones `tf_...` have TensorFlow's padding, which is not symmetric. So the maps of a mirrored image are only
    approximately the mirrored maps. Predictions are mirrored cell by cell, as for every other detector.
    """

    @property
    @abstractmethod
    def pyramid(self) -> BackbonePyramid:
        """Backbone and pyramid."""

    @property
    def pretrained(self) -> Backbone:
        """The backbone without the pyramid."""
        return self.pyramid.body

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the feature pyramid; see `DenseModel.maps`."""
        return list(self.pyramid(images).values())

    def with_own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights by the detector's own names; those of the backbone alone have timm's, or its package's.

        A file of another detector of this module will do too, even if other strides split its backbone differently.
        """
        backbone_state = self.pretrained.with_own_names(
            {re.sub(IN_STAGE, "", name): tensor for name, tensor in state.items()}
        )
        return super().with_own_names(state) | super().with_own_names(backbone_state)


def _pyramid(config: TimmConfig) -> BackbonePyramid:
    backbone = Backbone(config.backbone, config.strides)
    backbone.freeze(config.frozen_stages, norm=config.batch_norm == "frozen")
    return BackbonePyramid(backbone, config.pyramid_channels, len(config.strides))


class TimmSSD(OnBackbone, PyramidSSD):
    """`small_ssd`'s head, anchors and loss on the feature pyramid of a backbone."""

    def __init__(self, config: SSDConfig, classes: int) -> None:
        size, scales, ratios = config.layout
        super().__init__(_pyramid(config), size, classes, scales, ratios)

    @property
    def pyramid(self) -> BackbonePyramid:
        """Backbone and pyramid."""
        pyramid: BackbonePyramid = self.ssd.backbone
        return pyramid


class TimmRetinaNet(OnBackbone, TorchvisionRetinaNet):
    """RetinaNet's head and loss on the feature pyramid of a backbone, with `small_ssd`'s anchors.

    The head is that of torchvision's second version, with group normalisation. With few channels the small initial
    weights of the first version let so little signal through that nothing is learnt.
    """

    def __init__(self, config: TimmRetinaNetConfig, classes: int) -> None:
        super().__init__()
        self.class_quality = ClassQuality(classes)
        self.size, scales, ratios = config.layout
        generator = anchor_generator(scales, ratios)
        channels, anchors_a_cell = config.pyramid_channels, generator.num_anchors_per_location()[0]
        head = RetinaNetHead(channels, anchors_a_cell, classes, partial(nn.GroupNorm, gcd(channels, GROUPS)))
        self.retinanet = RetinaNet(_pyramid(config), classes, head=head)
        self.to(memory_format=torch.channels_last)
        self.lay_anchors(generator)

    @property
    def pyramid(self) -> BackbonePyramid:
        """Backbone and pyramid."""
        pyramid: BackbonePyramid = self.retinanet.backbone
        return pyramid
