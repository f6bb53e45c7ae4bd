"""Settings of the detector and of its evaluation."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag

from mgral.config.section import Fraction, Probability, Section

Stages = Annotated[int, Field(ge=0, le=5)]
Cache = Literal["decoded", "encoded"]


class SmallSSDConfig(Section):
    """A small SSD for the CPU, trained from scratch; see `mgral.models.small_ssd`."""

    weights: ClassVar[None] = None
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


class SSD300Config(Section):
    """SSD300 on VGG16, torchvision's; see `mgral.models.ssd300`."""

    name: Literal["ssd300_vgg16"]
    weights: Literal["VGG16_Weights.IMAGENET1K_FEATURES"] | None = "VGG16_Weights.IMAGENET1K_FEATURES"
    """torchvision's name of the backbone's weights, which trainings start from; null starts from random ones."""
    trainable_layers: Stages = 4
    """Last stages of the backbone that are trained, of 5; all are where it starts from random weights."""
    canvas: PositiveInt = 500
    """Side of the square in which images are cached, in pixels: of what is larger, the longer side is shrunk to it.
    The network is shown the image at 300 x 300; crops of it keep the canvas's detail."""
    cache: Cache = "decoded"
    """Whether the cache holds pixels (0.75 MB an image at a canvas of 500), or files, which are decoded anew in each
    epoch by a few threads."""


class RetinaNetConfig(Section):
    """RetinaNet on ResNet-50 with a feature pyramid, torchvision's; see `mgral.models.retinanet`."""

    name: Literal["retinanet_resnet50_fpn"]
    weights: Literal["ResNet50_Weights.IMAGENET1K_V1"] | None = "ResNet50_Weights.IMAGENET1K_V1"
    """torchvision's name of the backbone's weights, which trainings start from, with its batch normalisation frozen;
    null starts from random weights, and trains that."""
    trainable_layers: Stages = 3
    """Last stages of the backbone that are trained, of 5; all are where it starts from random weights."""
    canvas: Annotated[int, Field(ge=128, multiple_of=128)] = 1024
    """Side in pixels of the square that the network is shown: an image's longer side fills it, the rest is grey."""
    cache: Cache = "encoded"
    """Whether the cache holds pixels (3 MB an image at a canvas of 1024), or files, which are decoded anew in each
    epoch by a few threads."""


def _name(value: Any) -> Any:
    """A section without a name is the small detector's."""
    return value.get("name", "small_ssd") if isinstance(value, dict) else getattr(value, "name", None)


DETECTORS = ("small_ssd", "ssd300_vgg16", "retinanet_resnet50_fpn")
DetectorConfig = Annotated[
    Annotated[SmallSSDConfig, Tag("small_ssd")]
    | Annotated[SSD300Config, Tag("ssd300_vgg16")]
    | Annotated[RetinaNetConfig, Tag("retinanet_resnet50_fpn")],
    Discriminator(
        _name,
        custom_error_type="detector_name",
        custom_error_message=f"name must be one of {', '.join(DETECTORS)}",
    ),
]


class EvaluationConfig(Section):
    """How boxes become detections before pycocotools scores them."""

    score_threshold: Probability = 0.01
    """Detections below it are dropped."""
    nms_iou: Fraction = 0.45
    """Overlap above which the weaker of two detections of a class is dropped."""
    max_detections: PositiveInt = 100
    """Detections kept an image."""
