"""Settings of a detector, of whatever kind, and of its evaluation."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from mgral.config.canvas import Canvas
from mgral.config.section import Count, Fraction, PathText, Probability, Section


class DetectorConfig(Section, ABC):
    """The settings of a detector, and what the pipeline must know of it before torch is imported.

    Each detector has a class of its own under `register_detector`: its name is the only value of `name`, a Literal.
    """

    network: ClassVar[str]
    """Where the network is, `module:Class`: a `DetectorModel`, made of these settings and the number of classes."""
    dense: ClassVar[bool] = True
    """Whether it is a `DenseModel`, which some strategies need; every other detector is a `DetectorModel`."""
    process_mb: ClassVar[int] = 6000
    """Memory of the process of a job that runs it, in MB. Of the large ones, which train on a GPU, that of CUDA's
    libraries and of COCO's annotations; on the CPU they take what `python -m benchmarks detector` says."""

    name: str

    @property
    @abstractmethod
    def image_canvas(self) -> Canvas:
        """The canvas on which images are cached."""

    @property
    def caches_files(self) -> bool:
        """Whether the cache holds image files as they are, not pixels."""
        return False

    @property
    def backbone_weights(self) -> str | None:
        """The weights that its backbone starts from, by torchvision's name; None for random ones."""
        return None

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

    weights: PathText | None
    """torchvision's name of the backbone's weights, which trainings start from; null starts from random ones."""
    cache: Literal["decoded", "encoded"]
    """Whether the cache holds pixels, or files, which are decoded anew in each epoch by a few threads."""

    @property
    def caches_files(self) -> bool:
        """Whether the cache holds image files as they are, not pixels."""
        return self.cache == "encoded"

    @property
    def backbone_weights(self) -> str | None:
        """The weights that its backbone starts from, by torchvision's name; None for random ones."""
        return self.weights


class EvaluationConfig(Section):
    """How boxes become detections before they are scored."""

    score_threshold: Probability = 0.01
    """Detections below it are dropped."""
    nms_iou: Fraction = 0.45
    """Overlap above which the weaker of two detections of a class is dropped."""
    max_detections: Count = 100
    """Detections kept an image."""
