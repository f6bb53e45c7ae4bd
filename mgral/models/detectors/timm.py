"""Settings of SSD and RetinaNet on any backbone of timm's."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat

from mgral.config.canvas import Canvas
from mgral.config.detector import DetectorConfig, known_weights
from mgral.config.detectors import register_detector
from mgral.config.section import Count, Fraction, PathText, require_set

PACKAGED = "tf_efficientnet_lite0"
"""The backbone whose ImageNet weights are installed with the packages."""
KEPT = {
    PACKAGED: 1575,
    "tf_efficientnet_lite4": 3665,
    "mobilenetv3_large_100": 885,
    "resnet18": 445,
    "resnet50": 1715,
    "resnet101": 2535,
    "convnext_tiny": 2180,
}
"""What a training keeps of the backbone, in bytes a pixel of an image, as counted on the CPU."""
UNKNOWN_KEPT = 1800
"""Value for other backbones, about that of ResNet-50; small ones keep a third of it, large ones twice as much."""
Strides = Annotated[tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1)]
Scales = Annotated[tuple[Fraction, ...], Field(min_length=2)]


def unknown_backbone(name: str, names: Sequence[str]) -> str:
    """Return the message about a backbone that is none of timm's names."""
    close = get_close_matches(name, names, 5)
    return f"detector.backbone: timm has no {name!r}; {'perhaps ' + ', '.join(close) if close else 'choose another'}"


def backbone_fault(name: str) -> str | None:
    """Return a fault if timm's source defines no backbone of a name, else None; importing timm takes seconds."""
    spec = find_spec("timm")
    assert spec is not None
    folders = [Path(folder, "models") for folder in spec.submodule_search_locations or ()]
    text = "".join(path.read_text("utf-8") for folder in folders for path in sorted(folder.rglob("*.py")))
    pattern = re.escape(name.split(".")[0])
    # Functions that make a network, and the keys of tables with earlier names.
    if re.search(rf"^def {pattern}\(|['\"]{pattern}['\"]\s*:", text, re.MULTILINE):
        return None
    return unknown_backbone(name, re.findall(r"^def ([a-z]\w*)\(", text, re.MULTILINE))


class TimmConfig(DetectorConfig):
    """The settings that detectors on timm's backbones share."""

    training_defaults: ClassVar[Mapping[str, Any]] = {
        "learning_rate": 1e-3,
        "precision": "auto",
        "augmentation": {"zoom_in": 1.25, "zoom_out": 1.25, "colour": 0.1},
    }
    derivable: ClassVar[tuple[str, ...]] = ("width", "height", "anchor_scales", "aspect_ratios")
    process_mb: ClassVar[int] = 4000
    pyramid_bytes: ClassVar[float]
    """Bytes that pyramid and head keep for the backward pass, for each cell and channel."""

    backbone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")] = PACKAGED
    """Name of a network of the package timm that supports feature maps (`features_only`)."""
    weights: Annotated[PathText | None, known_weights("imagenet")] = "imagenet"
    """Weights that trainings start from: `imagenet` (installed with mgral for tf_efficientnet_lite0, downloaded by
    timm's addresses for others), or a file as for every detector; null starts from random weights."""
    frozen_stages: Annotated[int, Field(ge=0)] = 0
    """Number of first stages of the backbone that are not trained, including their batch normalisation."""
    batch_norm: Literal["running", "frozen"] = "running"
    """Whether the backbone's batch normalisation updates its statistics from training batches, or keeps the initial
    ones, which is better for batches of few images."""
    width: Count | None = None
    """Width at which images are cached, trained on and evaluated, in pixels; null derives it from the images."""
    height: Count | None = None
    """Height at which images are cached, trained on and evaluated, in pixels; null derives it from the images."""
    pyramid_channels: Count = 64
    """Channels of each map of the feature pyramid."""
    strides: Strides = (4, 8, 16, 32)
    """Stride of each feature map in pixels, finest first; maps coarser than the backbone's halve the one before."""
    anchor_scales: Scales | None = None
    """Anchor sizes on the maps, finest first, and one past the last, as fractions of the image; null derives them
    from the initially labelled boxes."""
    aspect_ratios: tuple[PositiveFloat, ...] | None = None
    """Aspect ratios of the anchors beside 1; each stands for itself and its inverse; null derives them from the
    initially labelled boxes."""

    def faults(self) -> list[str]:
        """Return what is wrong with the settings together."""
        faults, scales = super().faults(), self.anchor_scales
        if any(coarse != 2 * fine for fine, coarse in pairwise(self.strides)):
            faults.append(f"detector.strides: {list(self.strides)} must double from one to the next; write 4, 8, 16")
        if scales is not None and len(scales) != len(self.strides) + 1:
            faults.append(
                f"detector.anchor_scales: {len(self.strides)} maps need {len(self.strides) + 1} sizes, found "
                f"{len(scales)}; give one for each of detector.strides, and one past the last"
            )
        if scales is not None and any(after <= before for before, after in pairwise(scales)):
            faults.append(f"detector.anchor_scales: {list(scales)} must grow from one to the next; sort them")
        return faults

    @property
    def image_canvas(self) -> Canvas:
        """The size that images are stretched to."""
        return Canvas(require_set(self.width, "detector.width"), require_set(self.height, "detector.height"))

    @property
    def layout(self) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...]]:
        """Height and width of the input, anchor scales and aspect ratios, which must be set or derived by now."""
        size = require_set(self.height, "detector.height"), require_set(self.width, "detector.width")
        scales = require_set(self.anchor_scales, "detector.anchor_scales")
        return size, scales, require_set(self.aspect_ratios, "detector.aspect_ratios")

    @property
    def anchor_strides(self) -> tuple[int, ...]:
        """Strides of the feature maps, in pixels."""
        return self.strides

    @property
    def weight_bytes(self) -> float:
        """Bytes of the head's last convolutions for one class, which are proportional to `pyramid_channels`."""
        anchors = len(self.strides) * 2 * (1 + len(self.aspect_ratios or [1]))
        return 4 * 9 * self.pyramid_channels * anchors * 6

    @property
    def training_bytes(self) -> float:
        """Bytes that backbone, pyramid and head keep for each pixel, as counted on the CPU at 256 x 256."""
        cells = sum(stride**-2 for stride in self.strides)
        return KEPT.get(self.backbone, UNKNOWN_KEPT) + self.pyramid_bytes * self.pyramid_channels * cells

    @property
    def inference_bytes(self) -> float:
        """Bytes for each pixel: three times the 210 to 310 measured on the CPU, as no GPU was measured."""
        return 1000


@register_detector
class SSDConfig(TimmConfig):
    """SSD with a feature pyramid on a backbone of timm's; see `mgral.models.timm_detectors`."""

    training_defaults: ClassVar[Mapping[str, Any]] = {**TimmConfig.training_defaults, "learning_rate": 4e-3}
    network: ClassVar[str] = "mgral.models.timm_detectors:TimmSSD"
    pyramid_bytes: ClassVar[float] = 9.3

    name: Literal["ssd"]


@register_detector
class TimmRetinaNetConfig(TimmConfig):
    """RetinaNet with a feature pyramid on a backbone of timm's; see `mgral.models.timm_detectors`."""

    network: ClassVar[str] = "mgral.models.timm_detectors:TimmRetinaNet"
    pyramid_bytes: ClassVar[float] = 72

    name: Literal["retinanet"]
