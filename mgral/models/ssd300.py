"""SSD300 on VGG16 (Liu et al. 2016), torchvision's."""

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG
from torchvision.models.vgg import cfgs, make_layers

from mgral.models.detectors.ssd300 import SIDE, SSD300Config
from mgral.models.flip import Mirror
from mgral.models.interface import Predictions, laid_out
from mgral.models.quality import ClassQuality
from mgral.models.ssd import TorchvisionSSD

PIXEL_MEAN = (123.0, 117.0, 104.0)
"""Subtracted from the pixels, and nothing else is done to them, as the weights of the backbone were trained so."""
GRIDS = ((38, 38), (19, 19), (10, 10), (5, 5), (3, 3), (1, 1))
"""Heights and widths of the feature maps."""
CHANNELS = [512, 1024, 512, 256, 256, 256]
"""Channels of the feature maps."""
ASPECT_RATIOS = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
SCALES = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
STEPS = [8, 16, 32, 64, 100, 300]
"""Steps between anchors in pixels, as in torchvision's ssd300_vgg16."""
STAGES = 5
"""Stages of VGG16; each but the first begins with a pooling."""


def _vgg16_features() -> nn.Sequential:
    """Return VGG16's convolutions with the initial weights of torchvision's."""
    layers: nn.Sequential = make_layers(cfgs["D"], batch_norm=False)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    return layers


class SSD300(TorchvisionSSD):
    """Torchvision's ssd300_vgg16 for images of 300 x 300 pixels.

    It is put together here, as torchvision's function draws VGG16's classifier first, 120 million weights that
    nothing uses.
    """

    mean: Tensor

    def __init__(self, config: SSD300Config, classes: int) -> None:
        super().__init__()
        self.class_quality = ClassQuality(classes)
        self.size = (SIDE, SIDE)
        backbone = SSDFeatureExtractorVGG(_vgg16_features(), highres=False)
        backbone.out_channels = CHANNELS
        generator = DefaultBoxGenerator(ASPECT_RATIOS, scales=SCALES, steps=STEPS)
        mean, deviation = [level / 255 for level in PIXEL_MEAN], [1 / 255] * 3
        self.ssd = SSD(backbone, generator, self.size, classes + 1, mean, deviation)
        for layer in self._vgg()[: self._first_trained(config)]:
            layer.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None], persistent=False)
        image = ImageList(torch.zeros(1, 3, *self.size), [self.size])
        self.register_buffer(
            "anchors", generator(image, [torch.zeros(1, 1, *grid) for grid in GRIDS])[0], persistent=False
        )
        self.grids, self.anchors_a_cell = GRIDS, generator.num_anchors_per_location()
        weight = self.ssd.box_coder.weights[0]
        self.mirrored = Mirror(self.anchors, GRIDS, self.anchors_a_cell, SIDE, weight)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return VGG16's map at stride 8 and the five after it; see `DenseModel.maps`."""
        return list(self.ssd.backbone(laid_out(images.float() - self.mean)).values())

    def predict(self, maps: list[Tensor]) -> Predictions:
        """Predict every anchor; see `DenseModel.predict`."""
        outputs = self.ssd.head(maps)
        return Predictions(outputs["cls_logits"], outputs["bbox_regression"])

    def mirror(self, predictions: Predictions) -> Predictions:
        """Turn the predictions on flipped images into what they say of the unflipped ones."""
        turned: Predictions = self.mirrored(predictions)
        return turned

    def with_own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights by the detector's own names; VGG16 names its layers by their places: `features.28.bias`."""
        names = {module: name for name, module in self.named_modules()}
        vgg_state = {
            f"{names[layer]}.{kind}": state[f"features.{place}.{kind}"]
            for place, layer in enumerate(self._vgg())
            for kind in ("weight", "bias")
            if f"features.{place}.{kind}" in state
        }
        return vgg_state or super().with_own_names(state)

    def _vgg(self) -> list[nn.Module]:
        """Return the layers of VGG16 in its order: the first map is taken from their middle."""
        return [*self.ssd.backbone.features, *self.ssd.backbone.extra[0][:-1]]

    def _first_trained(self, config: SSD300Config) -> int:
        layers = self._vgg()
        starts = [0] + [index for index, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        trained = STAGES if config.weights is None else config.trainable_layers
        return [*starts, len(layers)][STAGES - trained]
