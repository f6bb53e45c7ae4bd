"""The mAP of a detector trained with each candidate batch, with which looked-up rewards are compared."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import choose_device
from mgral.config import Config
from mgral.data.image_set import ImageSet
from mgral.errors import StepError
from mgral.evaluation.coco import score_detections
from mgral.evaluation.detect import detect_images
from mgral.method.fidelity.batches import Candidate
from mgral.models.build import build_detector
from mgral.training.batches import training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.length import detector_iterations
from mgral.training.loop import train_detector


class Gain(NamedTuple):
    """The scores of one batch, an entry of `gains<i>-<j>.json`; its gain is their mean less that of batch 0."""

    batch: int
    map: list[float]
    """mAP on the test images in each repeat, 0 to 1."""


def measure_gains(
    config: Config,
    data: ImageSet,
    test: ImageSet,
    labelled: npt.NDArray[np.int64],
    batches: Iterable[Candidate],
    seed: int,
    cycle: int,
    *,
    weights: Path | None = None,
    gpus: int = 0,
    checkpoint_of: Callable[[int, int], Checkpoint | None] = lambda batch, repeat: None,
) -> list[Gain]:
    """Train detectors on the labelled images and each batch, as a cycle does, and return their mAP on test images.

    Every batch is labelled and trained `fidelity.repeats` times. Repeats differ in their initial weights and in all
    random numbers of the training. The same repeat has the same weights and numbers for all batches.

    Parameters
    ----------
    labelled
        Ids of the images that are labelled in addition to the batch, int64 [n].
    weights
        File of the backbone's weights, if `detector.weights` names some.
    gpus
        0 for the CPU, 1 for a GPU.
    checkpoint_of
        Returns the checkpoint for a batch and a repeat.

    Raises
    ------
    StepError
        If no test image has a box.
    """
    device, truth = choose_device(gpus), test.truth()
    test_ids = test.dataset.image_ids
    gains = []
    for batch in batches:
        training_set = training_images(data.dataset, data.images, sorted({*labelled.tolist(), *batch.images}))
        iterations = detector_iterations(config, len(training_set.rows))
        scores = []
        for repeat in range(config.fidelity.repeats):
            checkpoint = checkpoint_of(batch.batch, repeat)
            weights_seed = derive_seed(seed, "gain weights", repeat)
            detector = build_detector(config.detector, len(data.dataset.categories), weights_seed, weights).to(device)
            training_seed, name = derive_seed(seed, "gain", cycle, repeat), f"batch {batch.batch}, repeat {repeat}"
            train_detector(
                detector, training_set, config.training, iterations, training_seed, name, checkpoint=checkpoint
            )
            detections = detect_images(
                detector, test.dataset, test.images, np.arange(len(test_ids)), config.evaluation
            )
            scores.append(score_detections(truth, detections, test_ids.tolist())["map"])
            if checkpoint:
                checkpoint.remove()
        if None in scores:
            raise StepError("no test image has a box, so mAP is undefined; add test images with boxes")
        gains.append(Gain(batch.batch, scores))
    return gains
