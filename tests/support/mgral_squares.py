"""A plug-in: a detector in one file, settings and network, that is the small one with fewer anchors."""

from typing import ClassVar, Literal

from mgral.config.canvas import Canvas
from mgral.config.detector import DetectorConfig
from mgral.config.detectors import register_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.small_ssd import SmallSSD


@register_detector
class SquaresConfig(DetectorConfig):
    """A detector of squares in square images."""

    network: ClassVar[str] = f"{__name__}:Squares"
    process_mb: ClassVar[int] = 1000

    name: Literal["squares"]
    side: int = 64
    """Width and height of what the network is shown, in pixels."""

    @property
    def image_canvas(self) -> Canvas:
        """The square that images are shrunk or enlarged into."""
        return Canvas(self.side, self.side, "fit")

    @property
    def training_bytes(self) -> float:
        """Those of four channels."""
        return 27


class Squares(SmallSSD):
    """The small detector with four channels."""

    def __init__(self, config: SquaresConfig, classes: int) -> None:
        super().__init__(SmallSSDConfig(width=config.side, height=config.side, channels=4, aspect_ratios=()), classes)
