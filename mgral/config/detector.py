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
"""What the files of a detector that is a command may contain beside boxes and scores of the test images."""


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
    """Whether it is a `DenseModel`, which some strategies need; every other detector is a `DetectorModel`."""
    training_defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings of `training` that it is trained by unless they are given, where the defaults there are others."""
    package: ClassVar[str | None] = None
    """The package that its network needs beyond those that mgral always has; an extra of mgral has the same name."""
    iteration_defaults: ClassVar[Mapping[str, int]] = {}
    """Settings of `iterations` that are not derived from the data unless they are given as null."""
    process_mb: ClassVar[int] = 6000
    """Memory of the process of a job that runs it, in MB. Of the large ones, which train on a GPU, that of CUDA's
    libraries and of COCO's annotations; on the CPU they take what `python -m benchmarks detector` says."""

    derivable: ClassVar[tuple[str, ...]] = ()
    """Settings that may be null, which derives them from the data (`mgral.data.derive`): `width` and `height`,
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
        """Pixels from cell to cell of each map that has anchors by `anchor_scales`, finest first."""
        return ()

    @property
    def largest_canvas(self) -> Canvas:
        """The canvas on which images are cached or, where it is not known yet, the largest that it can be."""
        return Canvas(isqrt(MOST_PIXELS), isqrt(MOST_PIXELS)) if "width" in self.open_keys else self.image_canvas

    @property
    def least_images(self) -> int:
        """Images that must go through it together in a training."""
        return 1

    @property
    def settings_folder(self) -> str | None:
        """The user's folder that some of the settings are read from, unless they are given."""
        return None

    @property
    def command_gives(self) -> tuple[Gift, ...] | None:
        """What the files of a detector contain that is a command (`external`); None for one that is trained here."""
        return None

    @property
    def trained(self) -> "DetectorConfig":
        """The detector that is trained here: this one, or the proxy of a command."""
        return self

    def with_trained(self, trained: "DetectorConfig") -> "DetectorConfig":
        """Return this section with another one in the place of `trained`."""
        return trained

    def lacks(self, requires: Sequence[str], views: int) -> str | None:
        """Return what a strategy needs, and this detector has not, in words; None where it is enough.

        Parameters
        ----------
        requires, views
            Of the strategy, see `mgral.config.registry.register`.
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
        """Bytes of the weights in float32, where settings decide about them; else 0."""
        return 0

    @property
    @abstractmethod
    def training_bytes(self) -> float:
        """What a training keeps of an image for its backward pass, in bytes a pixel, in float32.

        Added up over the tensors that autograd saved, on the CPU, with those layers trained that are by default.
        """

    @property
    def inference_bytes(self) -> float:
        """What an image takes on a GPU that is not learnt from, in bytes a pixel, in float32.

        Unless it was measured, four times what a training keeps; SSD300 takes 3.8 times.
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
