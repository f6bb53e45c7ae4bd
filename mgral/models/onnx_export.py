"""A detector as one ONNX file, which runs without torch: from pictures to boxes, suppression of overlaps included."""

import json
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx.utils import register_custom_op_symbolic

from mgral.errors import InputError, StepError
from mgral.models.interface import DenseModel, DetectorModel
from mgral.models.suppression import Limits

EXPORTED = ("small_ssd", "ssd", "retinanet")
"""Detectors that can be exported, as `detector.name` has them."""
OPSET = 17
"""Version of ONNX's operators: one of 2022, so that many runtimes support it."""
INPUT, OUTPUTS = "images", ("boxes", "scores", "labels")


class ExportedDetector(nn.Module):
    """A detector and the suppression of overlaps, as one network."""

    sides: Tensor

    def __init__(self, detector: DenseModel, limits: Limits) -> None:
        super().__init__()
        self.detector, self.limits = detector, limits
        height, width = detector.size
        self.register_buffer("sides", torch.tensor([width, height, width, height], dtype=torch.float32))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes [B, D, 4] in relative coordinates, scores [B, D], labels [B, D], for images [B, 3, H, W]."""
        detector = self.detector
        predictions = detector.predictions(images)
        scores = detector.class_scores(predictions.logits)
        batch, anchors, classes = scores.shape
        decoded = detector.decode(predictions.offsets.reshape(-1, 4), detector.anchors.repeat(batch, 1))
        boxes = (decoded / self.sides).clamp(0, 1).reshape(batch, anchors, 4)
        kept_rows: Tensor = _NonMaxSuppression.apply(boxes, scores.transpose(1, 2), self.limits)
        image, label, place = kept_rows.unbind(1)
        # Scores of what is kept among zeros: the best of these are the best boxes of each image.
        kept_scores = torch.zeros_like(scores).index_put((image, place, label), scores[image, place, label])
        best_scores, pair_indices = kept_scores.reshape(batch, -1).topk(
            min(self.limits.max_detections, anchors * classes), dim=1
        )
        places = torch.div(pair_indices, classes, rounding_mode="floor")
        return boxes.gather(1, places[..., None].expand(-1, -1, 4)), best_scores, pair_indices - places * classes


class _NonMaxSuppression(torch.autograd.Function):
    """ONNX's operator NonMaxSuppression.

    From boxes [B, P, 4] and scores [B, C, P] it makes a row of image, class and place for each box kept, [n, 3].
    """

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, limits: Limits) -> Tensor:
        """Return rows of the right shape: this runs only while the network is traced."""
        return torch.zeros(1, 3, dtype=torch.int64)

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, limits: Limits) -> Any:
        """Return the node of the graph."""
        max_detections = graph.op("Constant", value_t=torch.tensor([limits.max_detections]))
        overlap = graph.op("Constant", value_t=torch.tensor([limits.nms_iou]))
        threshold = graph.op("Constant", value_t=torch.tensor([limits.score_threshold]))
        return graph.op("NonMaxSuppression", boxes, scores, max_detections, overlap, threshold)


def _nearest_exact(graph: Any, values: Any, sizes: Any, *scales: Any) -> Any:
    """Return the node of an upsampling by `nearest-exact`, which torch's exporter lacks."""
    shape = graph.op("Shape", values)
    batch_and_channels = graph.op(
        "Slice", shape, *(graph.op("Constant", value_t=torch.tensor([bound])) for bound in (0, 2))
    )
    full_shape = graph.op("Concat", batch_and_channels, sizes, axis_i=0)
    empty = graph.op("Constant", value_t=torch.tensor([], dtype=torch.float32))
    return graph.op(
        "Resize",
        values,
        empty,
        empty,
        full_shape,
        mode_s="nearest",
        coordinate_transformation_mode_s="half_pixel",
        nearest_mode_s="round_prefer_ceil",
    )


def check_exportable(name: str) -> None:
    """Raise InputError where a detector, as `detector.name` has it, is none of `EXPORTED`, or onnx is missing."""
    if name not in EXPORTED:
        raise InputError(f"detector {name} cannot be exported to ONNX; {', '.join(EXPORTED)} can")
    if find_spec("onnx") is None:
        raise InputError("the package onnx is not installed; install it beside mgral (docs/install.md)")


def export_onnx(detector: DetectorModel, classes: Sequence[str], limits: Limits) -> bytes:
    """Return a trained detector as the content of an ONNX file.

    The input `images` is uint8 [B, 3, H, W], RGB, stretched to the detector's size. Of D boxes an image, best first,
    `boxes` is float32 [B, D, 4], x1, y1, x2, y2 in 0..1 of the width and height of the image; `scores` float32
    [B, D], 0 where nothing more is found; `labels` int64 [B, D], indices into the list of classes. The metadata have
    `classes` (a JSON list of their names), `width` and `height` of the input in pixels.

    Parameters
    ----------
    detector
        One that `check_exportable` does not refuse.
    classes
        Names, by label.
    limits
        What counts as found; D is `max_detections`.

    Raises
    ------
    StepError
        Where a backbone has operations that ONNX lacks, or there is no space for a temporary file.
    """
    import onnx

    assert isinstance(detector, DenseModel)

    height, width = detector.size
    register_custom_op_symbolic("aten::_upsample_nearest_exact2d", _nearest_exact, OPSET)
    try:
        with TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
            # torch warns that values become constant, which is right for a detector of one size, and that there is a
            # newer exporter, which needs two more packages and twenty times as long.
            warnings.simplefilter("ignore")
            path = Path(folder) / "detector.onnx"
            torch.onnx.export(
                ExportedDetector(detector, limits).eval(),
                (torch.zeros(2, 3, height, width, dtype=torch.uint8),),
                path,
                input_names=[INPUT],
                output_names=[*OUTPUTS],
                dynamic_axes={INPUT: {0: "batch"}, **{output: {0: "batch", 1: "found"} for output in OUTPUTS}},
                opset_version=OPSET,
                dynamo=False,
            )
            model = onnx.load(path)
    except torch.onnx.errors.OnnxExporterError as error:
        raise StepError(f"the detector cannot be exported to ONNX: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise StepError(f"no temporary file can be written ({error.strerror}); free space, or set TMPDIR") from None
    metadata = {"classes": json.dumps([*classes], ensure_ascii=False), "width": str(width), "height": str(height)}
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    exported: bytes = model.SerializeToString(deterministic=True)
    return exported
