"""SSD and RetinaNet on any backbone of timm's."""

from abc import abstractmethod

from torch import Tensor

from mgral.models.backbone import Backbone, BackbonePyramid
from mgral.models.detectors.timm import SSDConfig, TimmConfig
from mgral.models.pyramid import CentredAnchors
from mgral.models.ssd import PyramidSSD


class OnBackbone(CentredAnchors):
    """A detector on the feature pyramid of a backbone.

    TensorFlow's padding, which the backbones `tf_...` have, is not symmetric: maps of a mirrored image are the
    mirrored maps only about. Predictions are mirrored cell by cell, as for every other detector.
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

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights by the detector's own names; those of the backbone alone have timm's, or its package's."""
        inside = self.pretrained.own_names(state)
        return super().own_names(inside or state)


def _pyramid(config: TimmConfig) -> BackbonePyramid:
    backbone = Backbone(config.backbone, config.strides)
    backbone.freeze(config.frozen_stages, norm=config.batch_norm == "frozen")
    return BackbonePyramid(backbone, config.pyramid_channels, len(config.strides))


class TimmSSD(OnBackbone, PyramidSSD):
    """`small_ssd`'s head, anchors and loss on the feature pyramid of a backbone."""

    def __init__(self, config: SSDConfig, classes: int) -> None:
        size = (config.height, config.width)
        super().__init__(_pyramid(config), size, classes, config.anchor_scales, config.aspect_ratios)

    @property
    def pyramid(self) -> BackbonePyramid:
        """Backbone and pyramid."""
        pyramid: BackbonePyramid = self.ssd.backbone
        return pyramid
