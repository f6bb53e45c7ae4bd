"""The detector of a cycle: from its initial weights, on all labelled images."""

from pathlib import Path

import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.config import Config
from mgral.data.image_set import ImageSet
from mgral.models.build import build_detector
from mgral.models.interface import DetectorModel
from mgral.training.batches import training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.devices import train_on_gpus
from mgral.training.length import detector_iterations
from mgral.training.loop import Follower


def train_cycle_detector(
    config: Config,
    data: ImageSet,
    labelled: npt.ArrayLike,
    seed: int,
    cycle: int = 0,
    *,
    weights: Path | None = None,
    gpus: int = 0,
    checkpoint: Checkpoint | None = None,
    follower: Follower | None = None,
) -> tuple[DetectorModel, list[dict[str, float]]]:
    """Train a detector from its initial weights, the longer the more images are labelled.

    Parameters
    ----------
    labelled
        Ids of the labelled images, int64 [n].
    seed, cycle
        The initial weights depend on the seed alone: detectors of other cycles differ by their images.
    weights
        What the step `weights` wrote, where `detector.weights` names some.
    gpus
        0 for the CPU; several share each batch.
    follower
        What learns along, of a dense detector on one device at most; the detector is the same with it and without.

    Returns
    -------
    The detector in evaluation mode, and a row an iteration: iteration, loss, consistency, learning_rate.

    Raises
    ------
    InputError, StepError
        As `build_detector` and `train_on_gpus` raise them.
    """
    classes = len(data.dataset.categories)
    images = training_images(data.dataset, data.images, labelled)
    detector = build_detector(config.detector, classes, derive_seed(seed, "weights"), weights)
    iterations = detector_iterations(config, len(images.rows))
    training_seed = derive_seed(seed, "detector", cycle)
    step = "head" if follower else "detector"
    history = train_on_gpus(
        gpus, detector, images, config.training, iterations, training_seed, step, checkpoint, follower
    )
    return detector, history
