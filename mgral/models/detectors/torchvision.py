"""Settings of torchvision's detectors behind one wrapper."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from mgral.config.canvas import Canvas
from mgral.config.detector import TorchvisionConfig
from mgral.config.detectors import register_detector
from mgral.config.section import PathText

Model = Literal[
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
    "ssdlite320_mobilenet_v3_large",
]
Side = Annotated[int, Field(ge=32, le=10**6, multiple_of=32)]
RESNET50 = ("ResNet50_Weights.IMAGENET1K_V1", "ResNet50_Weights.IMAGENET1K_V2")
SSDLITE_SIDE = 320


class Facts(NamedTuple):
    """What is known of a model before torch is imported."""

    weights: tuple[str, ...]
    """torchvision's names of the weights that it may start from, those of the complete detector first."""
    stages: int
    """Stages of the backbone that can be frozen; 0 where torchvision trains all of them."""
    weight_mb: float
    """Weights in float32 with 20 classes, in MB."""
    pixel_bytes: float
    """What a training keeps of each pixel for its backward pass, in float32, as counted on the CPU with all layers
    trained."""
    image_mb: float = 0
    """Memory that it keeps in addition for each image, whatever its size, in MB: for 512 proposals."""


FACTS: dict[str, Facts] = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": Facts(
        (
            "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
            "MobileNet_V3_Large_Weights.IMAGENET1K_V1",
            "MobileNet_V3_Large_Weights.IMAGENET1K_V2",
        ),
        stages=6,
        weight_mb=76,
        pixel_bytes=888,
        image_mb=30,
    ),
    "fasterrcnn_resnet50_fpn_v2": Facts(
        ("FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1", *RESNET50),
        stages=5,
        weight_mb=173,
        pixel_bytes=2223,
        image_mb=234,
    ),
    "fcos_resnet50_fpn": Facts(
        ("FCOS_ResNet50_FPN_Weights.COCO_V1", *RESNET50), stages=5, weight_mb=129, pixel_bytes=2110
    ),
    "retinanet_resnet50_fpn_v2": Facts(
        ("RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1", *RESNET50), stages=5, weight_mb=147, pixel_bytes=2216
    ),
    "ssdlite320_mobilenet_v3_large": Facts(
        ("SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",), stages=0, weight_mb=10, pixel_bytes=936
    ),
}


@register_detector
class TorchvisionDetectorConfig(TorchvisionConfig):
    """One of torchvision's detectors, with its own losses; see `mgral.models.torchvision_detector`."""

    network: ClassVar[str] = "mgral.models.torchvision_detector:TorchvisionDetector"
    dense: ClassVar[bool] = False
    training_defaults: ClassVar[Mapping[str, Any]] = {"learning_rate": 2e-4, "weight_decay": 1e-4}

    name: Literal["torchvision"]
    model: Model
    """torchvision's name of the detector."""
    weights: PathText | None
    """Weights that trainings start from: torchvision's name of published weights, such as
    `FCOS_ResNet50_FPN_Weights.COCO_V1`, or a file as for every detector; null starts from random weights, from which
    a detector of this size learns little with fewer than thousands of images."""
    trainable_layers: Annotated[int, Field(ge=0, le=6)] = 3
    """Number of last stages of the backbone, of 5 (ResNet-50) or 6 (MobileNet), that are trained; with random
    weights, and in SSDlite, all are."""
    width: Side = 320
    """Width at which images are cached, trained on and evaluated, in pixels."""
    height: Side = 320
    """Height at which images are cached, trained on and evaluated, in pixels."""
    cache: Literal["decoded", "encoded"] = "decoded"
    """Whether the cache contains decoded pixels, or the image files, which a few threads decode again in each
    epoch."""

    def faults(self) -> list[str]:
        """Return what is wrong with the settings together."""
        faults, facts = super().faults(), self.facts
        if self.weights is not None and not self.weights_file and self.weights not in facts.weights:
            faults.append(
                f"detector.weights: {self.weights!r} is neither {' nor '.join(facts.weights)}, which {self.model} "
                "may start from, nor a path with a `/` in it; correct it, or write null for random weights"
            )
        if facts.stages and self.trainable_layers > facts.stages:
            faults.append(
                f"detector.trainable_layers: the backbone of {self.model} has {facts.stages} stages; lower it"
            )
        if not facts.stages and (self.width, self.height) != (SSDLITE_SIDE, SSDLITE_SIDE):
            faults.append(f"detector.width: {self.model} is made for 320 x 320; leave out width and height")
        return faults

    @property
    def facts(self) -> Facts:
        """What is known of the model."""
        return FACTS[self.model]

    @property
    def least_images(self) -> int:
        """2 for SSDlite, whose last map is a single cell: batch normalisation has no statistics of one value."""
        return 1 if self.facts.stages else 2

    @property
    def image_canvas(self) -> Canvas:
        """The size that images are stretched to."""
        return Canvas(self.width, self.height)

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights in float32."""
        return self.facts.weight_mb * 1e6

    @property
    def training_bytes(self) -> float:
        """What a training keeps of an image, in bytes a pixel, as counted on the CPU."""
        return self.facts.pixel_bytes + self.facts.image_mb * 1e6 / (self.width * self.height)
