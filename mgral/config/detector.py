"""Settings of the detector and of its evaluation."""

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from mgral.config.section import Fraction, Probability, Section


class DetectorConfig(Section):
    """The architecture; `mgral.detectors.build_detector` makes it."""

    name: Literal["small_ssd"] = "small_ssd"
    width: PositiveInt = 128
    """Width at which images are cached, trained on and evaluated, in pixels."""
    height: PositiveInt = 128
    """Height at which images are cached, trained on and evaluated, in pixels."""
    channels: PositiveInt = 16
    """Channels at stride 2; the coarser maps hold multiples of it."""
    anchor_scales: tuple[Fraction, Fraction, Fraction, Fraction, Fraction] = (0.08, 0.15, 0.28, 0.5, 0.8)
    """Anchor sizes on the four feature maps, finest first, and one past the last, as fractions of the image."""
    aspect_ratios: tuple[PositiveFloat, ...] = (2.0,)
    """Aspect ratios of the anchors beside 1; each stands for itself and its inverse."""


class EvaluationConfig(Section):
    """How boxes become detections before pycocotools scores them."""

    score_threshold: Probability = 0.01
    """Detections below it are dropped."""
    nms_iou: Fraction = 0.45
    """Overlap above which the weaker of two detections of a class is dropped."""
    max_detections: PositiveInt = 100
    """Detections kept an image."""
