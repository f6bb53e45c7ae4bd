"""RetinaNet on ResNet-50 with a feature pyramid (Lin et al. 2017), torchvision's."""

import re

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from mgral.models.boxes import decode, encode
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.flip import Mirror
from mgral.models.focal import match_anchors, retinanet_loss
from mgral.models.interface import DenseModel, Predictions, Targets, laid_out
from mgral.models.quality import ClassQuality

PIXEL_MEAN, PIXEL_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STRIDES = (8, 16, 32, 64, 128)
STAGES = 5


class TorchvisionRetinaNet(DenseModel):
    """Torchvision's RetinaNet on images of one size, with its loss done for the complete batch at once.

    Its logits [B, A, C] have no background: each class has a sigmoid of its own.
    """

    retinanet: torchvision.models.detection.RetinaNet

    def predict(self, maps: list[Tensor]) -> Predictions:
        """Predict every anchor; see `DenseModel.predict`."""
        outputs = self.retinanet.head(maps)
        return Predictions(outputs["cls_logits"], outputs["bbox_regression"])

    def class_maps(self, maps: list[Tensor]) -> list[Tensor]:
        """Return what the four convolutions of the classification head make of the pyramid."""
        tower = self.retinanet.head.classification_head.conv
        return [tower(feature_map) for feature_map in maps]

    def match(self, targets: Targets) -> Tensor:
        """Return the index of each anchor's box, int64 [B, A]; -1 for background, -2 for anchors that are ignored."""
        return match_anchors(self.anchors, targets)

    def decode(self, offsets: Tensor, anchors: Tensor) -> Tensor:
        """Decode with torchvision's weights."""
        return decode(offsets, anchors, self.retinanet.box_coder.weights)

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Encode with torchvision's weights."""
        return encode(boxes, anchors, self.retinanet.box_coder.weights)

    def loss(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return focal loss plus L1 of a batch."""
        matched = self.match(targets)
        self.note_quality(predictions, targets, matched)
        return retinanet_loss(predictions, self.anchors, targets, matched)

    def class_scores(self, logits: Tensor) -> Tensor:
        """Return each class's own sigmoid."""
        return logits.sigmoid()

    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over a background of logit 0 and the classes.

        It is the distribution of independent sigmoids, given that at most one class is present. If no sigmoid is
        above a half, the background is the most probable.
        """
        return F.softmax(F.pad(logits, (1, 0)), dim=-1)

    def with_own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights by the detector's own names; torchvision renamed layers after it had published weights."""
        renamed = {}
        for name, values in state.items():
            new_name = re.sub(r"(\bfpn\.\w+_blocks\.\d+)\.(\w+)$", r"\1.0.\2", name)
            new_name = re.sub(r"(_head\.conv\.)(\d+)\.(\w+)$", lambda m: f"{m[1]}{int(m[2]) // 2}.0.{m[3]}", new_name)
            renamed[new_name] = values
        return super().with_own_names(renamed)


class RetinaNet(TorchvisionRetinaNet):
    """Torchvision's retinanet_resnet50_fpn on square images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: RetinaNetConfig, classes: int) -> None:
        super().__init__()
        side, pretrained = config.canvas, config.weights is not None
        backbone = resnet_fpn_backbone(
            backbone_name="resnet50",
            weights=None,
            # As torchvision has it: the statistics of pre-trained weights stay, as batches are small.
            norm_layer=FrozenBatchNorm2d if pretrained else nn.BatchNorm2d,
            trainable_layers=config.trainable_layers if pretrained else STAGES,
            returned_layers=[2, 3, 4],
            extra_blocks=LastLevelP6P7(256, 256),
        )
        self.retinanet = torchvision.models.detection.RetinaNet(backbone, classes)
        self.class_quality = ClassQuality(classes)
        self.size = (side, side)
        self.grids = [(side // stride, side // stride) for stride in STRIDES]
        for name, values in (("mean", PIXEL_MEAN), ("deviation", PIXEL_DEVIATION)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        image = ImageList(torch.zeros(1, 3, *self.size), [self.size])
        generator = self.retinanet.anchor_generator
        self.anchors_a_cell = generator.num_anchors_per_location()
        maps = [torch.zeros(1, 1, *grid) for grid in self.grids]
        self.register_buffer("anchors", generator(image, maps)[0], persistent=False)
        weight = self.retinanet.box_coder.weights[0]
        self.mirrored = Mirror(self.anchors, self.grids, self.anchors_a_cell, side, weight)

    @property
    def pretrained(self) -> nn.Module:
        """The ResNet without the pyramid."""
        body: nn.Module = self.retinanet.backbone.body
        return body

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the feature pyramid; see `DenseModel.maps`."""
        values = laid_out((images.float() - self.mean) / self.deviation)
        return list(self.retinanet.backbone(values).values())

    def mirror(self, predictions: Predictions) -> Predictions:
        """Turn the predictions on flipped images into what they say of the unflipped ones."""
        turned: Predictions = self.mirrored(predictions)
        return turned
