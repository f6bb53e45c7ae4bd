"""The DETR family of the package `transformers` behind one wrapper: its own losses, one box a query."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from mgral.compute.distributed import processes
from mgral.errors import InputError
from mgral.models.detectors.transformers import ARCHITECTURE, WEIGHTS, TransformersConfig
from mgral.models.interface import DetectorModel, Targets, laid_out, pooled
from mgral.models.suppression import Found, Limits

os.environ["HF_HUB_OFFLINE"] = "1"  # before the package is imported: all that it needs is in the folder

from transformers import CONFIG_MAPPING, AutoModelForObjectDetection
from transformers.utils import logging

logging.set_verbosity_error()  # type: ignore[no-untyped-call]
logging.disable_progress_bar()  # type: ignore[no-untyped-call]

UNFIT = (ValueError, TypeError, KeyError, AttributeError, AssertionError, ZeroDivisionError, StrictDataclassError)
"""Errors of a model that is built of values that do not go together."""
MISMATCH = "ignore_mismatched_sizes"
"""Text in the error that transformers raises if weights have other shapes than config.json asks for."""


class TransformersDetector(DetectorModel):
    """A detector of the DETR family: queries instead of anchors, a matching instead of a suppression."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: TransformersConfig, classes: int) -> None:
        super().__init__()
        self.size = (config.height, config.width)
        self.softmax, self.exact = config.family.softmax, config.family.exact
        model_type = config.architecture["model_type"]
        try:
            architecture = CONFIG_MAPPING[model_type].from_dict(dict(config.architecture), num_labels=classes)
            self.model = AutoModelForObjectDetection.from_config(architecture)  # type: ignore[no-untyped-call]
        except UNFIT as error:
            raise InputError(
                f"detector.checkpoint: {config.checkpoint}/{ARCHITECTURE} describes no {model_type} that can be "
                f"built ({' '.join(str(error).split())}); copy the checkpoint folder again"
            ) from None
        for name, values in (("mean", config.mean), ("deviation", config.deviation)):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None], persistent=False)

    @property
    def pretrained(self) -> nn.Module:
        """The backbone, or of Yolos, which has none, the transformer."""
        base: nn.Module = self.model.base_model
        backbone: nn.Module = getattr(base, "backbone", base)
        return backbone

    def losses(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Return the model's loss; some models draw denoising queries from torch's global generator."""
        height, width = self.size
        sides = targets.boxes.new_tensor([width, height, width, height])
        boxes = box_convert(targets.boxes / sides, "xyxy", "cxcywh")
        labels = [
            {"class_labels": image_labels[image_labels >= 0], "boxes": image_boxes[image_labels >= 0]}
            for image_boxes, image_labels in zip(boxes, targets.labels, strict=True)
        ]
        loss = self.model(pixel_values=self._normalised(images), labels=labels).loss
        if processes() > 1:
            # Without a box in this process' images no denoising query is drawn, and others wait for its gradients.
            loss = loss + 0 * sum(parameter.sum() for parameter in self.parameters() if parameter.requires_grad)
        return {"loss": loss}

    def detect(self, images: Tensor, limits: Limits) -> list[Found]:
        """Return what is found in each image, without suppression of overlaps; sources are queries."""
        return self.features_and_detections(images, limits)[1]

    def features(self, images: Tensor) -> Tensor:
        """Return the averages and the maxima of the encoder's output (Yolos: of all tokens), float32 [B, F]."""
        return _pooled(self.model(pixel_values=self._normalised(images)))

    def features_and_detections(self, images: Tensor, limits: Limits) -> tuple[Tensor, list[Found]]:
        """Return `features` and `detect` in one pass."""
        predicted = self.model(pixel_values=self._normalised(images))
        height, width = self.size
        sides = predicted.pred_boxes.new_tensor([width, height, width, height])
        boxes = clip_boxes_to_image(box_convert(predicted.pred_boxes, "cxcywh", "xyxy") * sides, self.size)
        found = [
            self._find(*image_predictions, limits) for image_predictions in zip(boxes, predicted.logits, strict=True)
        ]
        return _pooled(predicted), found

    def _normalised(self, images: Tensor) -> Tensor:
        """Return the inputs of the network, float32 [B, 3, H, W]."""
        return laid_out((images.float() - self.mean) / self.deviation)

    def _find(self, boxes: Tensor, logits: Tensor, limits: Limits) -> Found:
        """Return the best pairs of query and class; where classes share a softmax, a query counts for its best."""
        if self.softmax:
            distributions = F.softmax(logits, dim=-1).roll(1, -1)  # `no object` is the last
            scores = distributions[:, 1:]
            scores = torch.where(scores == scores.amax(1, keepdim=True), scores, 0)
        else:
            distributions, scores = F.softmax(F.pad(logits, (1, 0)), dim=-1), logits.sigmoid()
        best, pairs = scores.flatten().topk(min(limits.max_detections, scores.numel()))
        pairs = pairs[best > limits.score_threshold]
        sources, labels = pairs // scores.shape[1], pairs % scores.shape[1]
        return Found(boxes[sources], scores[sources, labels], labels, distributions[sources], sources)


def _pooled(predicted: object) -> Tensor:
    """Pool the encoder's maps [B, F, h, w] or its tokens [B, S, F]; where it has neither, the last hidden state."""
    encoded = getattr(predicted, "encoder_last_hidden_state", None)
    if encoded is None:
        encoded = predicted.last_hidden_state  # type: ignore[attr-defined]
    if isinstance(encoded, Sequence):
        return pooled(encoded)
    return pooled([encoded.transpose(1, 2)[..., None]])


def load_checkpoint(folder: Path) -> dict[str, Tensor]:
    """Return the weights in a checkpoint folder, under the names that the model has here; they vary by version.

    Raises
    ------
    InputError
        Where the folder has no weights, or not those of its config.json.
    """
    try:
        model, report = AutoModelForObjectDetection.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, RuntimeError, *UNFIT, SafetensorError) as error:
        reason = f"sizes in {WEIGHTS} are not those of {ARCHITECTURE}" if MISMATCH in str(error) else error
        raise InputError(f"{folder} cannot be loaded ({reason}); copy the checkpoint folder again") from None
    if lacking := sorted(report["missing_keys"]):
        raise InputError(
            f"{folder}: {WEIGHTS} lacks {len(lacking)} of the weights that {ARCHITECTURE} asks for, such as "
            f"{lacking[0]}; copy the checkpoint folder again"
        )
    state: dict[str, Tensor] = model.state_dict()
    return state
