"""Settings of every training of a detector."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from mgral.config.section import Count, Fraction, Probability, Section

Precision = Literal["float32", "bfloat16", "float16", "auto"]


class AugmentationConfig(Section):
    """Random changes of a training image; each keeps or moves its boxes."""

    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    zoom_in: Annotated[float, Field(ge=1)] = 1.5
    """Largest enlargement, of which the image shows a crop; log-uniform with `zoom_out`, 1 turns it off."""
    zoom_out: Annotated[float, Field(ge=1)] = 1.5
    """Largest shrinking, onto a grey canvas; 1 turns it off, as is better where objects are small already."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Largest relative change of brightness, contrast and saturation; 0 turns it off."""
    crop: Literal["zoom", "iou"] = "zoom"
    """What is shown of an image: `zoom_in` and `zoom_out` as they say, or SSD's crops, which overlap a box by a drawn
    share and have their own shape, in an image that was made smaller first (`expand`)."""
    expand: Annotated[float, Field(ge=1)] = 4.0
    """Largest shrinking before SSD's crops, of every second image."""
    distort: Probability = 0.0
    """Probability of each of SSD's photometric distortions: brightness, contrast, saturation and hue."""


class IterationsConfig(Section):
    """Optimiser steps of each kind of training; null derives them from the number of initially labelled images, as is
    the default of all detectors but `small_ssd`, which has 300, 200 and 60."""

    detector: Count | None = None
    """Iterations of the detector of cycle 0, trained on `initial` images."""
    growth: Probability = 0.75
    """How a detector's steps grow with its labelled images n: detector * (n / initial)^growth. 0 gives all detectors
    the same number of steps, 1 the same number of epochs; the full-data detector follows it too."""
    base: Count | None = None
    """Iterations of the base detector, from which every variant of the lookup table starts."""
    variant: Count | None = None
    """Iterations of each variant."""

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Settings that are null, and so are derived from the data."""
        return tuple(key for key in ("detector", "base", "variant") if getattr(self, key) is None)


class SemiSupervisedConfig(Section):
    """How a variant learns from images without labels."""

    batch_size: Count = 8
    """Images of the subset in a step, beside the labelled ones."""
    weight: NonNegativeFloat = 1.0
    """Factor of the consistency loss at the top of its ramp."""


class TrainingConfig(Section):
    """How every detector is trained."""

    batch_size: Count = 16
    """Images in a step."""
    learning_rate: PositiveFloat = 2e-3
    """Peak learning rate, reached after the warm-up."""
    backbone_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate for the part that pre-trained weights are for."""
    weight_decay: NonNegativeFloat = 5e-4
    """Weight decay, of neither biases nor normalisation layers."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with `momentum`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the optimiser `sgd`."""
    schedule: Literal["cosine", "steps"] = "cosine"
    """How the learning rate falls: by a half cosine to zero, or to a tenth at each of `steps`."""
    steps: tuple[Fraction, ...] = (2 / 3, 5 / 6)
    """Parts of the iterations after which the schedule `steps` lowers the learning rate; SSD's and RetinaNet's."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Part of the iterations in which the learning rate rises linearly."""
    gradient_norm: PositiveFloat | None = 10.0
    """Norm at which gradients are clipped, or null."""
    moving_average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay an iteration of a moving average of the weights, which replaces them in the end; 0 is none. Early on it
    forgets faster: at most (1 + n) / (10 + n) is kept after n iterations."""
    accumulate: Count = 1
    """Parts in which a batch goes through the detector, one after the other, where it is too large for the memory.
    The loss is their mean; batch normalisation sees a part at a time."""
    precision: Precision = "float32"
    """Number type of convolutions; losses and weights stay in float32. bfloat16 is faster on GPUs and on processors
    with AVX512-BF16 or AMX, slower on others; auto is bfloat16 there, else float32. float16 is for GPUs."""
    compile: bool = False
    """Compile the detector by torch.compile, which wants a C++ compiler: minutes once, and then faster iterations."""
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _parts_hold_images(self) -> "TrainingConfig":
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"training.accumulate: a batch of {self.batch_size} images has no {self.accumulate} parts; lower it, "
                "or raise training.batch_size"
            )
        return self
