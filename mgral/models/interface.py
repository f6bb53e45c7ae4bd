"""What a detector offers: `DetectorModel` is enough for pipeline and MGRAL; some strategies need a `DenseModel`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from mgral.compute.device import fixed_shapes
from mgral.config import TrainingConfig
from mgral.models.quality import ClassQuality, paired_iou
from mgral.models.suppression import Found, Limits, suppress

LOGITS_AT_ONCE = 2**26
"""Logits that are processed at once if those of all anchors are, as intermediate results take several times more."""


class Targets(NamedTuple):
    """The boxes of a batch, padded to the largest number of boxes M of its images."""

    boxes: Tensor
    """float32 [B, M, 4]: x1, y1, x2, y2 in pixels of the images; padding is zero."""
    labels: Tensor
    """int64 [B, M]: indices into the data set's categories; padding is -1."""


class Predictions(NamedTuple):
    """What the network says of each anchor, before any decoding."""

    logits: Tensor
    """float32 [B, A, L], which `DenseModel.class_probabilities` turns into C + 1 probabilities. L is C + 1 with a
    softmax, class 0 being the background, and C with a sigmoid for each class."""
    offsets: Tensor
    """float32 [B, A, 4]: dx, dy, dw, dh relative to the anchor."""


class DetectorModel(nn.Module, ABC):
    """A detector of any kind; images are uint8 or float [B, 3, H, W] in 0..255, on its device."""

    size: tuple[int, int]
    """Height and width of the images, in pixels."""
    exact = True
    """Whether every operation of its training has a deterministic form on a GPU."""

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        return next(self.parameters()).device

    @property
    @abstractmethod
    def pretrained(self) -> nn.Module:
        """The part that published weights are for, such as a backbone. Its learning rate may be lower."""

    def forward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return `losses`; DistributedDataParallel can only call `forward`."""
        return self.losses(images, targets)

    @abstractmethod
    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the supervised losses of a batch by name, scalars that the training adds up.

        In a training of several processes each is given its images, and the mean of their sums is the batch's loss.
        """

    @abstractmethod
    def detect(self, images: Tensor, limits: Limits) -> list[Found]:
        """Return what is found in each image."""

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features of images, float32 [B, F]."""

    def features_and_detections(self, images: Tensor, limits: Limits) -> tuple[Tensor, list[Found]]:
        """Return what `features` and `detect` return; in one pass if the detector can."""
        return self.features(images), self.detect(images, limits)

    def parameter_groups(self, config: TrainingConfig) -> list[dict[str, Any]]:
        """Return the trained parameters in groups, as torch's optimisers take them, each with its peak rate `lr`.

        Weight decay applies neither to biases nor to normalisation layers; `backbone_rate` applies to `pretrained`.
        """
        slower = set(self.pretrained.parameters()) if config.backbone_rate < 1 else set()
        groups: list[dict[str, Any]] = []
        for rate, slow in ((1.0, False), (config.backbone_rate, True)):
            trained = [
                parameter
                for parameter in self.parameters()
                if parameter.requires_grad and (parameter in slower) is slow
            ]
            lr = rate * config.learning_rate
            groups.append({"params": [parameter for parameter in trained if parameter.ndim > 1], "lr": lr})
            groups.append(
                {"params": [parameter for parameter in trained if parameter.ndim <= 1], "lr": lr, "weight_decay": 0.0}
            )
        return [group for group in groups if group["params"]]

    def with_own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weights of a file by this detector's own names; weights that it does not know are left out.

        The file may be of the complete detector or of `pretrained`. Its names may lack a prefix that they have here,
        such as `ssd.backbone.`.
        """
        own_state = self.state_dict()
        pretrained_names = [name for name, module in self.named_modules() if module is self.pretrained]
        prefixes = ["", *(f"{name}." for name in [*dict(self.named_children()), *pretrained_names])]
        prefix = max(prefixes, key=lambda prefix: sum(prefix + name in own_state for name in state))
        return {prefix + name: values for name, values in state.items() if prefix + name in own_state}


class DenseModel(DetectorModel):
    """A detector that predicts every anchor of every cell of its feature maps."""

    anchors: Tensor
    """float32 [A, 4]: x1, y1, x2, y2 in pixels, map by map, row by row, cell by cell."""
    grids: Sequence[tuple[int, int]]
    """Height and width of each map."""
    anchors_a_cell: Sequence[int]
    """Anchors of a cell of each map."""
    class_quality: ClassQuality
    """Quality by class of the matched anchors that `loss` has seen in training mode."""
    watch: Callable[[list[Tensor], Predictions, Targets], None] | None = None
    """Called by `losses` with the maps, predictions and boxes of a batch, to train a strategy's head too."""

    @property
    def anchors_a_map(self) -> list[int]:
        """The number of anchors of each map."""
        return [
            height * width * count for (height, width), count in zip(self.grids, self.anchors_a_cell, strict=True)
        ]

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the `loss` of the predictions, in full precision."""
        maps = self.maps(images)
        predictions = full_precision(self.predict(maps))
        with torch.autocast(self.device.type, enabled=False):
            if self.watch:
                self.watch(maps, predictions, targets)
            return {"loss": self.loss(predictions, targets)}

    def detect(self, images: Tensor, limits: Limits) -> list[Found]:
        """Return what is found in each image."""
        return self.find(self.predictions(images), limits)

    def features(self, images: Tensor) -> Tensor:
        """Return the averages and the maxima of the feature maps, float32 [B, F]."""
        return pooled(self.maps(images))

    def features_and_detections(self, images: Tensor, limits: Limits) -> tuple[Tensor, list[Found]]:
        """Return `features` and `detect` in one pass."""
        maps = self.maps(images)
        return pooled(maps), self.find(self.predict(maps), limits)

    def predictions(self, images: Tensor) -> Predictions:
        """Predict every anchor of every image."""
        return self.predict(self.maps(images))

    def find(self, predictions: Predictions, limits: Limits) -> list[Found]:
        """Return the boxes found in each image, given predictions; `Found.sources` are indices of anchors."""
        boxes, found = self.boxes(predictions.offsets), []
        for image_boxes, logits in zip(boxes, predictions.logits, strict=True):
            scores = self.class_scores(logits)
            sources, labels = suppress(image_boxes, scores, limits)
            # Of these sources only: all distributions of a large image take gigabytes.
            distributions = self.class_probabilities(logits[sources])
            found.append(Found(image_boxes[sources], scores[sources, labels], labels, distributions, sources))
        return found

    @abstractmethod
    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's feature maps, finest first, float32 [B, F, h, w] each."""

    @abstractmethod
    def predict(self, maps: list[Tensor]) -> Predictions:
        """Predict every anchor from the feature maps."""

    def class_maps(self, maps: list[Tensor]) -> list[Tensor]:
        """Return the maps that classes are predicted from: those of the backbone, unless the head has a tower."""
        return maps

    @abstractmethod
    def loss(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return the supervised loss of a batch, a scalar; in several processes, their mean is the batch's loss.

        In training mode it also updates `class_quality` with the matched anchors.
        """

    @abstractmethod
    def match(self, targets: Targets) -> Tensor:
        """Return the index of each anchor's box in its image, int64 [B, A]; negative where it has none."""

    @abstractmethod
    def decode(self, offsets: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [n, 4] that offsets [n, 4] from anchors [n, 4] stand for: x1, y1, x2, y2 in pixels."""

    @abstractmethod
    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the offsets [n, 4] that `decode` turns into boxes [n, 4], given their anchors [n, 4]."""

    def boxes(self, offsets: Tensor) -> Tensor:
        """Decode offsets [B, A, 4] of all anchors into boxes within the image, float32 [B, A, 4]."""
        boxes = self.decode(offsets.reshape(-1, 4), self.anchors.repeat(len(offsets), 1))
        clipped: Tensor = clip_boxes_to_image(boxes, self.size)
        return clipped.reshape(offsets.shape)

    @abstractmethod
    def class_probabilities(self, logits: Tensor) -> Tensor:
        """Turn logits [..., L] into distributions over the background and the classes, [..., C + 1]."""

    def class_scores(self, logits: Tensor) -> Tensor:
        """Return the score of each class, [..., C] in 0..1, given logits [..., L]: its probability."""
        return self.class_probabilities(logits)[..., 1:]

    @abstractmethod
    def mirror(self, predictions: Predictions) -> Predictions:
        """Turn the predictions on horizontally flipped images into what they say of the unflipped ones."""

    @torch.no_grad()
    def note_quality(self, predictions: Predictions, targets: Targets, matched: Tensor) -> None:
        """Update `class_quality` with a batch, in training mode only; `matched` [B, A] is the result of `match`."""
        if not self.training:
            return
        if fixed_shapes(matched.device):
            self.class_quality.take(self._quality_of_all(predictions, targets, matched))
            return
        image, anchor = (matched >= 0).nonzero(as_tuple=True)
        box = matched[image, anchor]
        labels = targets.labels[image, box]
        distributions = self.class_probabilities(predictions.logits[image, anchor])
        decoded = self.decode(predictions.offsets[image, anchor], self.anchors[anchor])
        overlaps = paired_iou(decoded, targets.boxes[image, box])
        self.class_quality.update(distributions.gather(1, labels[:, None] + 1)[:, 0], overlaps, labels)

    def _quality_of_all(self, predictions: Predictions, targets: Targets, matched: Tensor) -> Tensor:
        """Return `ClassQuality.sums` of a batch, computed from all anchors; anchors without a box add zero."""
        chunk = max(1, LOGITS_AT_ONCE // predictions.logits[0].numel())
        parts = (torch.split(tensor, chunk) for tensor in (*predictions, *targets, matched))
        sums = predictions.logits.new_zeros(2, len(self.class_quality.average))
        for logits, offsets, boxes, labels, match in zip(*parts, strict=True):
            matched_boxes, classes = of_anchors(Targets(boxes, labels), match)
            probabilities = self.class_probabilities(logits).gather(2, classes[..., None] + 1).flatten()
            decoded = self.decode(offsets.flatten(0, 1), self.anchors.repeat(len(match), 1))
            has_box = match.flatten() >= 0
            overlaps = torch.where(has_box, paired_iou(decoded, matched_boxes.flatten(0, 1)), 0)
            class_indices = torch.arange(sums.shape[1], device=sums.device)
            of_class = (classes.flatten()[:, None] == class_indices) & has_box[:, None]
            sums = sums + self.class_quality.sums(probabilities, overlaps, of_class)
        return sums


def of_anchors(targets: Targets, matched: Tensor) -> tuple[Tensor, Tensor]:
    """Return the box and the class of each anchor, [B, A, 4] and [B, A], matched [B, A] as `DenseModel.match` does.

    For an anchor without a box they are those of an arbitrary box of its image, or zero.
    """
    if targets.labels.shape[1] == 0:
        return targets.boxes.new_zeros(*matched.shape, 4), torch.zeros_like(matched)
    box = matched.clamp(min=0)
    boxes = targets.boxes.gather(1, box[..., None].expand(-1, -1, 4))
    return boxes, targets.labels.gather(1, box).clamp(min=0)


def full_precision(predictions: Predictions) -> Predictions:
    """Return predictions in float32 where they come from half precision, for what is computed of them."""
    return Predictions(*(tensor.float() if tensor.dtype.itemsize < 4 else tensor for tensor in predictions))


def laid_out(images: Tensor) -> Tensor:
    """Return images with channels last in memory on a GPU, and channels first on a CPU.

    On a CPU the backward pass of wide convolutions takes nearly twice as long with channels last. That of `small_ssd`
    does not, so `small_ssd` does not use this.
    """
    return images.contiguous(memory_format=torch.channels_last if images.is_cuda else torch.contiguous_format)


def pooled(maps: Sequence[Tensor]) -> Tensor:
    """Return the pooled backbone features of images, float32 [B, F]: the averages, then the maxima of each map."""
    return torch.cat([m.mean((2, 3)) for m in maps] + [m.amax((2, 3)) for m in maps], dim=1)
