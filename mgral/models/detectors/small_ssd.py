"""Settings of a small SSD for the CPU."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import PositiveFloat

from mgral.config.canvas import Canvas
from mgral.config.detector import DetectorConfig
from mgral.config.detectors import register_detector
from mgral.config.section import Count, Fraction


@register_detector
class SmallSSDConfig(DetectorConfig):
    """A small SSD for the CPU, trained from scratch; see `mgral.models.small_ssd`."""

    network: ClassVar[str] = "mgral.models.small_ssd:SmallSSD"
    process_mb: ClassVar[int] = 2000
    iteration_defaults: ClassVar[Mapping[str, int]] = {"detector": 300, "base": 200, "variant": 60}

    name: Literal["small_ssd"] = "small_ssd"
    width: Count = 128
    """Width at which images are cached, trained on and evaluated, in pixels."""
    height: Count = 128
    """Height at which images are cached, trained on and evaluated, in pixels."""
    channels: Count = 16
    """Channels at stride 2; coarser maps have multiples of this number."""
    anchor_scales: tuple[Fraction, Fraction, Fraction, Fraction, Fraction] = (0.08, 0.15, 0.28, 0.5, 0.8)
    """Anchor sizes on the four feature maps, finest first, and one past the last, as fractions of the image."""
    aspect_ratios: tuple[PositiveFloat, ...] = (2.0,)
    """Aspect ratios of the anchors beside 1; each stands for itself and its inverse."""

    @property
    def image_canvas(self) -> Canvas:
        """The size that images are stretched to."""
        return Canvas(self.width, self.height)

    @property
    def anchor_strides(self) -> tuple[int, ...]:
        """Strides of the four feature maps, in pixels."""
        return (4, 8, 16, 32)

    @property
    def weight_bytes(self) -> float:
        """Bytes of the backbone's 3 x 3 convolutions in float32; inputs times outputs add up to 186 channels^2."""
        return 4 * 9 * 186 * self.channels**2

    @property
    def training_bytes(self) -> float:
        """Memory that a training keeps, in bytes for each pixel; it is proportional to the channels."""
        return 6.8 * self.channels
