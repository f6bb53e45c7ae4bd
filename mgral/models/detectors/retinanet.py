"""Settings of RetinaNet on ResNet-50."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mgral.config.canvas import Canvas
from mgral.config.detector import TorchvisionConfig, known_weights
from mgral.config.detectors import register_detector
from mgral.config.section import PathText

PUBLISHED = "ResNet50_Weights.IMAGENET1K_V1"


@register_detector
class RetinaNetConfig(TorchvisionConfig):
    """RetinaNet on ResNet-50 with a feature pyramid, torchvision's; see `mgral.models.retinanet`."""

    network: ClassVar[str] = "mgral.models.retinanet:RetinaNet"

    name: Literal["retinanet_resnet50_fpn"]
    weights: Annotated[PathText | None, known_weights(PUBLISHED)] = PUBLISHED
    """Weights that trainings start from, with frozen batch normalisation: torchvision's name of the backbone's
    weights, or a file as for every detector; null starts from random weights and trains batch normalisation."""
    trainable_layers: Annotated[int, Field(ge=0, le=5)] = 3
    """Number of last stages of the backbone, of 5, that are trained; with random weights all are."""
    canvas: Annotated[int, Field(ge=128, le=10**6, multiple_of=128)] = 1024
    """Side of the square input of the network, in pixels; an image's longer side is scaled to it, and the rest is
    grey."""
    cache: Literal["decoded", "encoded"] = "encoded"
    """Whether the cache contains decoded pixels (3 MB an image at a canvas of 1024), or the image files, which a few
    threads decode again in each epoch."""

    @property
    def image_canvas(self) -> Canvas:
        """The square that the network is shown."""
        return Canvas(self.canvas, self.canvas, "fit")

    @property
    def training_bytes(self) -> float:
        """What a training keeps of an image, in bytes a pixel, as counted on the CPU."""
        return 755

    @property
    def inference_bytes(self) -> float:
        """What inference takes, in bytes a pixel, as measured on an H100."""
        return 350
