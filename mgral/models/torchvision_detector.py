"""Torchvision's detectors behind one wrapper: all is torchvision's, except for the suppression of overlaps."""

from typing import Any, cast

import torch
import torch.nn.functional as F
import torchvision.models.detection as published
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d, clip_boxes_to_image

from mgral.models.detectors.torchvision import TorchvisionDetectorConfig
from mgral.models.interface import DetectorModel, Targets, laid_out, pooled
from mgral.models.suppression import Found, Limits, suppress

SMALLEST_SIDE = 0.01
"""Shortest side of a box that is kept, in pixels, as in torchvision's Faster R-CNN."""
FROZEN_NORMALISATION = ("fasterrcnn_mobilenet_v3_large_320_fpn", "fcos_resnet50_fpn")
"""Models whose backbone keeps the statistics of the weights that it starts from, as torchvision builds them."""


class TorchvisionDetector(DetectorModel):
    """A detector of torchvision that is shown images as they lie on the canvas; normalisation stays its own."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: TorchvisionDetectorConfig, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.size = (config.height, config.width)
        # Torchvision counts the background as a class where classes share a softmax.
        self.first_label = 0 if config.model.startswith(("fcos", "retinanet")) else 1
        build = published.__dict__[config.model]
        self.model = build(weights=None, weights_backbone=None, num_classes=classes + self.first_label)
        if hasattr(self.model, "roi_heads"):
            heads = self.model.roi_heads
            heads.box_roi_pool, self.exact = _Pooling(heads.box_roi_pool), False
            predictors = [self.model.rpn.head, heads.box_predictor]
        else:
            predictors = [self.model.head]
        for predictor in predictors:
            predictor.register_forward_hook(_in_full_precision)
        transform = self.model.transform
        transform._skip_resize = True  # in training; `detect` does without the transform
        for name, values in (("mean", transform.image_mean), ("deviation", transform.image_std)):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None], persistent=False)
        if config.weights is not None and config.facts.stages:
            self._freeze(config)

    @property
    def pretrained(self) -> nn.Module:
        """The backbone without its feature pyramid."""
        backbone: nn.Module = self.model.backbone
        body: nn.Module = getattr(backbone, "body", backbone)
        return body

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return torchvision's losses; some of them draw proposals from torch's global generator."""
        annotations = [
            {"boxes": image_boxes[labels >= 0], "labels": labels[labels >= 0] + self.first_label}
            for image_boxes, labels in zip(*targets, strict=True)
        ]
        losses: dict[str, Tensor] = self.model(list(images.float() / 255), annotations)
        return losses

    def detect(self, images: Tensor, limits: Limits) -> list[Found]:
        """Return what is found in each image; sources are proposals of Faster R-CNN, else anchors."""
        inputs = self._normalised(images)
        return self._find(inputs, self.model.backbone(inputs), limits)

    def features(self, images: Tensor) -> Tensor:
        """Return the averages and the maxima of the backbone's maps, float32 [B, F]."""
        return pooled(list(self.model.backbone(self._normalised(images)).values()))

    def features_and_detections(self, images: Tensor, limits: Limits) -> tuple[Tensor, list[Found]]:
        """Return `features` and `detect` in one pass."""
        inputs = self._normalised(images)
        maps = self.model.backbone(inputs)
        return pooled(list(maps.values())), self._find(inputs, maps, limits)

    def with_own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return weights by the detector's own names; MobileNet's own have `features.` before them."""
        return super().with_own_names({name.removeprefix("features."): values for name, values in state.items()})

    def _normalised(self, images: Tensor) -> Tensor:
        """Return the inputs of the network, float32 [B, 3, H, W]."""
        return laid_out((images.float() - self.mean) / self.deviation)

    def _find(self, inputs: Tensor, maps: dict[str, Tensor], limits: Limits) -> list[Found]:
        images = ImageList(inputs, [self.size] * len(inputs))
        if hasattr(self.model, "roi_heads"):
            return self._find_in_proposals(images, maps, limits)
        return self._find_at_anchors(images, list(maps.values()), limits)

    def _find_in_proposals(self, images: ImageList, maps: dict[str, Tensor], limits: Limits) -> list[Found]:
        heads = self.model.roi_heads
        proposals, _ = self.model.rpn(images, maps)
        logits, offsets = heads.box_predictor(heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes)))
        counts = [len(image_proposals) for image_proposals in proposals]
        boxes = clip_boxes_to_image(heads.box_coder.decode(offsets, proposals), self.size)
        found = []
        parts = torch.split(boxes, counts), torch.split(F.softmax(logits, dim=-1), counts)
        for image_boxes, distributions in zip(*parts, strict=True):
            class_boxes, scores = image_boxes[:, 1:], distributions[:, 1:]
            large_enough = (class_boxes[..., 2:] - class_boxes[..., :2] >= SMALLEST_SIDE).all(-1)
            sources, labels = suppress(class_boxes, scores * large_enough, limits)
            found.append(
                Found(class_boxes[sources, labels], scores[sources, labels], labels, distributions[sources], sources)
            )
        return found

    def _find_at_anchors(self, images: ImageList, maps: list[Tensor], limits: Limits) -> list[Found]:
        predicted = self.model.head(maps)
        anchors = self.model.anchor_generator(images, maps)[0]
        coder = self.model.box_coder
        decode = getattr(coder, "decode_single", coder.decode)
        found = []
        for image, logits in enumerate(predicted["cls_logits"]):
            boxes = clip_boxes_to_image(decode(predicted["bbox_regression"][image], anchors), self.size)
            if self.first_label:
                scores = F.softmax(logits, dim=-1)[:, 1:]
            else:
                scores, logits = logits.sigmoid(), F.pad(logits, (1, 0))
            if "bbox_ctrness" in predicted:
                scores = (scores * predicted["bbox_ctrness"][image].sigmoid()).sqrt()
            sources, labels = suppress(boxes, scores, limits)
            distributions = F.softmax(logits[sources], dim=-1)
            found.append(Found(boxes[sources], scores[sources, labels], labels, distributions, sources))
        return found

    def _freeze(self, config: TorchvisionDetectorConfig) -> None:
        """Freeze the first stages of the backbone, and its normalisation, as torchvision does with given weights."""
        layers = list(self.pretrained.children())
        if len(layers) == 8:  # ResNet's stem is four of them
            starts = [0, 4, 5, 6, 7, 8]
        else:
            starts = [0, *(index for index, layer in enumerate(layers) if getattr(layer, "_is_cn", False))]
            starts += [len(layers) - 1, len(layers)]
        for layer in layers[: starts[config.facts.stages - config.trainable_layers]]:
            layer.requires_grad_(False)
        if config.model in FROZEN_NORMALISATION:
            _freeze_normalisation(self.pretrained)


class _Pooling(nn.Module):
    """Pools proposals by torchvision's kernel, whose backward pass on a GPU is not deterministic.

    In torch's deterministic mode torchvision would compile another kernel, which takes minutes in each process.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, *inputs: Any) -> Tensor:
        """Return the pooled maps, float32 [P, F, h, w]."""
        previous = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(False)
        try:
            return cast(Tensor, self.pool(*inputs))
        finally:
            torch.use_deterministic_algorithms(previous[0], warn_only=previous[1])


def _freeze_normalisation(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, child.eps))
        else:
            _freeze_normalisation(child)


def _in_full_precision(_: nn.Module, __: Any, predicted: Any) -> Any:
    """Return what a head predicts in float32: torchvision computes losses of it, which half precision spoils."""
    return _to_float32(predicted)


def _to_float32(predicted: Any) -> Any:
    """Return a tensor in float32, or a dictionary or sequence with all of its tensors in float32."""
    if isinstance(predicted, Tensor):
        return predicted.float()
    if isinstance(predicted, dict):
        return {name: _to_float32(value) for name, value in predicted.items()}
    return type(predicted)(_to_float32(value) for value in predicted)
