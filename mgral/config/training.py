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
    """Largest enlargement, after which the image is cropped; the factor is drawn log-uniformly between `zoom_out` and
    `zoom_in`. 1 turns it off."""
    zoom_out: Annotated[float, Field(ge=1)] = 1.5
    """Largest reduction, onto a grey canvas. 1 turns it off, which is better if objects are already small."""
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Largest relative change of brightness, contrast and saturation; 0 turns it off."""
    crop: Literal["zoom", "iou"] = "zoom"
    """How images are cropped: by `zoom_in` and `zoom_out`, or by SSD's random crops. Those overlap a box by a drawn
    IoU, have a random shape, and are taken from an image that was reduced first (`expand`)."""
    expand: Annotated[float, Field(ge=1)] = 4.0
    """Largest reduction before SSD's crops, applied with a probability of 0.5."""
    distort: Probability = 0.0
    """Probability of each of SSD's photometric distortions: brightness, contrast, saturation and hue."""


class IterationsConfig(Section):
    """Optimiser steps of each kind of training. null, the default, derives them from the number of initially labelled
    images with boxes; only `small_ssd` has fixed defaults: 300, 200 and 60."""

    detector: Count | None = None
    """Iterations of the detector of cycle 0, trained on `initial` images."""
    growth: Probability = 0.75
    """Exponent with which a detector's steps grow with its number n of labelled images: detector * (n /
    initial)^growth. 0 gives all detectors the same number of steps, 1 the same number of epochs. The full-data
    detector follows this too."""
    base: Count | None = None
    """Iterations of the base detector, from which variants start with `lut.start: warm`. Not used with `lut.labels:
    labels` and `lut.start: cold`, the defaults."""
    variant: Count | None = None
    """Iterations of each variant. Not used with `lut.labels: labels` and `lut.start: cold`, the defaults: then they
    are trained as long as detectors with as many images."""

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
    """Factor of the learning rate for the pretrained part of the detector."""
    weight_decay: NonNegativeFloat = 5e-4
    """Weight decay; biases and normalisation layers have none."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with `momentum`."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of the optimiser `sgd`."""
    schedule: Literal["cosine", "steps"] = "cosine"
    """How the learning rate falls: along a half cosine to zero, or to a tenth at each of `steps`."""
    steps: tuple[Fraction, ...] = (2 / 3, 5 / 6)
    """Fractions of the iterations after which the schedule `steps` lowers the learning rate; the default is that of
    SSD and RetinaNet."""
    warm_up: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of the iterations in which the learning rate rises linearly."""
    gradient_norm: PositiveFloat | None = 10.0
    """Norm to which gradients are clipped; null does not clip."""
    moving_average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay in each iteration of a moving average of the weights, which replaces the weights at the end; 0 turns it
    off. Early iterations decay faster: the factor is at most (1 + n) / (10 + n) after n iterations."""
    accumulate: Count = 1
    """Number of parts into which a batch is divided (gradient accumulation), for batches too large for the memory.
    The loss is the mean over the parts; batch normalisation uses one part at a time."""
    precision: Precision = "float32"
    """Number type of convolutions; losses and weights stay in float32. bfloat16 is faster on GPUs and on processors
    with AVX512-BF16 or AMX, and slower on others; auto is bfloat16 where it is faster, otherwise float32. float16 is
    for GPUs."""
    compile: bool = False
    """Compile the detector by torch.compile, which needs a C++ compiler. That takes minutes once; iterations are then
    faster."""
    augmentation: AugmentationConfig = AugmentationConfig()

    @model_validator(mode="after")
    def _parts_hold_images(self) -> "TrainingConfig":
        if self.accumulate > self.batch_size:
            raise ValueError(
                f"training.accumulate: a batch of {self.batch_size} images has no {self.accumulate} parts; lower it, "
                "or raise training.batch_size"
            )
        return self
