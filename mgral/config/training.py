"""Settings of every training of a detector."""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mgral.config.section import Probability, Section


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


class IterationsConfig(Section):
    """Optimiser steps of each kind of training."""

    detector: PositiveInt = 300
    """Of the detector of cycle 0, trained on `initial` images."""
    growth: Probability = 0.75
    """How a detector's steps grow with its labelled images n: detector * (n / initial)^growth. 0 gives all detectors
    the same number of steps, 1 the same number of epochs; the reference on all training images follows it too."""
    base: PositiveInt = 200
    """Of the detector that every variant of the look-up table starts from."""
    variant: PositiveInt = 60
    """Of each variant."""


class SemiSupervisedConfig(Section):
    """How a variant learns from images without labels."""

    batch_size: PositiveInt = 8
    """Images of the subset in a step, beside the labelled ones."""
    weight: NonNegativeFloat = 1.0
    """Factor of the consistency loss at the top of its ramp."""


class TrainingConfig(Section):
    """How every detector is trained."""

    batch_size: PositiveInt = 16
    """Images in a step."""
    learning_rate: PositiveFloat = 2e-3
    """Peak learning rate of AdamW; warmed up over the first twentieth, then lowered by a half cosine."""
    weight_decay: NonNegativeFloat = 5e-4
    augmentation: AugmentationConfig = AugmentationConfig()
