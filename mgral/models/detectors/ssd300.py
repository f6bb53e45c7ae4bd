"""Settings of SSD300 on VGG16."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mgral.config.canvas import Canvas
from mgral.config.detector import TorchvisionConfig, known_weights
from mgral.config.detectors import register_detector
from mgral.config.section import Count, PathText

SIDE = 300
"""Width and height of what the network is shown, in pixels."""


@register_detector
class SSD300Config(TorchvisionConfig):
    """SSD300 on VGG16, torchvision's; see `mgral.models.ssd300`."""

    network: ClassVar[str] = "mgral.models.ssd300:SSD300"

    name: Literal["ssd300_vgg16"]
    weights: Annotated[PathText | None, known_weights("VGG16_Weights.IMAGENET1K_FEATURES")] = (
        "VGG16_Weights.IMAGENET1K_FEATURES"
    )
    """Weights that trainings start from: torchvision's name of the backbone's weights, or a file as for every
    detector; null starts from random weights."""
    trainable_layers: Annotated[int, Field(ge=0, le=5)] = 4
    """Number of last stages of the backbone, of 5, that are trained; with random weights all are."""
    canvas: Count = 500
    """Side of the square in which images are cached, in pixels; larger images are reduced to it. The network's input
    is 300 x 300, but crops are taken at the larger size."""
    cache: Literal["decoded", "encoded"] = "decoded"
    """Whether the cache contains decoded pixels (0.75 MB an image at a canvas of 500), or the image files, which a
    few threads decode again in each epoch."""

    @property
    def image_canvas(self) -> Canvas:
        """The square that images are shrunk into; the network is shown a smaller view of it."""
        return Canvas(self.canvas, self.canvas, "shrink", view=(SIDE, SIDE))

    @property
    def training_bytes(self) -> float:
        """What a training keeps of an image, in bytes a pixel, as counted on the CPU."""
        return 940

    @property
    def inference_bytes(self) -> float:
        """What inference takes, in bytes a pixel, as measured on an H100."""
        return 3600
