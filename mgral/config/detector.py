"""Settings of a detector, of whatever kind, and of its evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, model_validator

from mgral.config.canvas import MOST_PIXELS, Canvas
from mgral.config.section import Count, Fraction, PathText, Probability, Section

WEIGHTS_ENDINGS = (".safetensors", ".pth", ".pt", ".bin")
"""What the names of files of weights end in."""
Gift = Literal["probabilities", "features"]
"""Optional results of an external detector, in addition to boxes and scores in the test images."""


def is_weights_file(text: str) -> bool:
    """Return whether `detector.weights` is a path, and no name of published weights."""
    return "/" in text or text.endswith(WEIGHTS_ENDINGS)


def known_weights(*names: str) -> AfterValidator:
    """Return the check of `detector.weights`: a file, or published weights of one of these names."""

    def check(value: str | None) -> str | None:
        if value is None or value in names or is_weights_file(value):
            return value
        raise ValueError(
            f"detector.weights: {value!r} is neither {' nor '.join([*names, 'a path with a `/` in it'])}; correct "
            "it, or write null for random weights"
        )

    return AfterValidator(check)


class DetectorConfig(Section, ABC):
    """The settings of a detector, and what the pipeline must know of it before torch is imported.

    Each detector has a class of its own under `register_detector`: its name is the only value of `name`, a Literal.
    """

    network: ClassVar[str]
    """Where the network is, `module:Class`: a `DetectorModel`, made of these settings and the number of classes."""
    dense: ClassVar[bool] = True
    """Whether the network is a `DenseModel`, which some strategies need, or only a `DetectorModel`."""
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of `training` for this detector, where they differ from those of `TrainingConfig`."""
    package: ClassVar[str | None] = None
    """Package that the network needs and mgral does not install by default; the extra of mgral has the same name."""
    iteration_defaults: ClassVar[Mapping[str, int]] = {}
    """Defaults of `iterations` for this detector. A setting without one is null, and so derived from the data."""
    process_mb: ClassVar[int] = 6000
    """Memory of a process that runs the detector, in MB. The default is for large detectors on a GPU: CUDA's
    libraries and COCO's annotations. `python -m benchmarks detector` measures what they take on the CPU."""

    derivable: ClassVar[tuple[str, ...]] = ()
    """Settings that are derived from the data if they are null (`mgral.data.derive`): `width` and `height`,
    `anchor_scales`, `aspect_ratios`."""

    name: str
    weights: Annotated[PathText | None, known_weights()] = None
    """Weights that trainings start from: a file for the same detector or its backbone (safetensors, or a torch state
    dict), relative to the working directory; null starts from random weights."""

    @property
    def weights_file(self) -> str | None:
        """The user's file of weights, where trainings start from one."""
        return self.weights if self.weights and is_weights_file(self.weights) else None

    @model_validator(mode="after")
    def _goes_together(self) -> "DetectorConfig":
        if faults := self.faults():
            raise ValueError("\n  ".join(faults))
        return self

    def faults(self) -> list[str]:
        """Return what is wrong with the settings together, each fault with the key and what to do."""
        if len({"width", "height"}.intersection(self.open_keys)) == 1:
            return ["detector: set width and height, or neither of them to derive both from the images"]
        return []

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Settings that are null, and so are derived from the data."""
        return tuple(key for key in self.derivable if getattr(self, key) is None)

    @property
    def anchor_strides(self) -> tuple[int, ...]:
        """Strides in pixels of the maps whose anchors follow `anchor_scales`, finest first; may be empty."""
        return ()

    @property
    def largest_canvas(self) -> Canvas:
        """The canvas on which images are cached or, where it is not known yet, the largest that it can be."""
        return Canvas(isqrt(MOST_PIXELS), isqrt(MOST_PIXELS)) if "width" in self.open_keys else self.image_canvas

    @property
    def least_images(self) -> int:
        """Fewest images in a batch, or in a part of it with `training.accumulate`, that it can be trained on."""
        return 1

    @property
    def settings_folder(self) -> str | None:
        """The user's folder from which settings that are not given are read; None if there is no such folder."""
        return None

    @property
    def command_gives(self) -> tuple[Gift, ...] | None:
        """Optional results of an external detector; None for a detector that MGRAL trains."""
        return None

    @property
    def trained(self) -> "DetectorConfig":
        """The detector that is trained here: this one, or the proxy of a command."""
        return self

    def with_trained(self, trained: "DetectorConfig") -> "DetectorConfig":
        """Return this section with another one in the place of `trained`."""
        return trained

    def lacks(self, requires: Sequence[str], views: int) -> str | None:
        """Return in words what a strategy needs and this detector lacks; None if it lacks nothing.

        Parameters
        ----------
        requires, views
            Arguments with which the strategy is registered, see `mgral.config.registry.register`.
        """
        if "dense" in requires and not self.dense:
            return f"a detector with anchors on feature maps, and {self.name} has none"
        return None

    @property
    @abstractmethod
    def image_canvas(self) -> Canvas:
        """The canvas on which images are cached."""

    @property
    def caches_files(self) -> bool:
        """Whether the cache contains image files as they are, not pixels."""
        return False

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights in float32 that depend on settings; 0 if they are not estimated."""
        return 0

    @property
    @abstractmethod
    def training_bytes(self) -> float:
        """Memory that a training keeps for its backward pass, in bytes for each input pixel, in float32.

        It is the sum of the tensors that autograd saves on the CPU, with the layers trained that are by default.
        """

    @property
    def inference_bytes(self) -> float:
        """Memory that inference takes on a GPU, in bytes for each input pixel, in float32.

        Unless it was measured, it is four times `training_bytes`; for SSD300 3.8 times were measured.
        """
        return 4 * self.training_bytes


class TorchvisionConfig(DetectorConfig):
    """The settings that torchvision's detectors share."""

    cache: Literal["decoded", "encoded"]
    """Whether the cache contains decoded pixels, or the image files, which a few threads decode again in each
    epoch."""

    @property
    def caches_files(self) -> bool:
        """Whether the cache contains image files as they are, not pixels."""
        return self.cache == "encoded"


class EvaluationConfig(Section):
    """How predicted boxes are filtered before they are scored."""

    score_threshold: Probability = 0.01
    """Detections below it are dropped."""
    nms_iou: Fraction = 0.45
    """IoU above which the weaker of two detections of a class is dropped."""
    max_detections: Count = 100
    """Largest number of detections kept for each image."""
