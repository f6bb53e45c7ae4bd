"""Training of the detectors behind a lookup table: the base, and one variant of it for each subset."""

from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path

from mgral.artefacts.seeds import derive_seed
from mgral.compute.device import choose_device
from mgral.config import Config, require_set
from mgral.data.image_set import ImageSet
from mgral.errors import InputError, SparseError
from mgral.evaluation.coco import of_images, score_detections
from mgral.evaluation.detect import detect_images
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.pseudo_labels import PseudoLabels, pseudo_truth, with_pseudo_labels
from mgral.method.lut.table import Variant
from mgral.models.build import build_detector
from mgral.models.interface import DetectorModel
from mgral.training.batches import training_images
from mgral.training.checkpoint import Checkpoint
from mgral.training.length import detector_iterations
from mgral.training.loop import Unlabelled, train_detector


def train_base(
    config: Config,
    data: ImageSet,
    plan: SubsetPlan,
    seed: int,
    cycle: int,
    split: int,
    *,
    weights: Path | None = None,
    gpus: int = 0,
    checkpoint: Checkpoint | None = None,
) -> DetectorModel:
    """Train the base, the detector from which all variants start, on the base images of the plan.

    With `lut.start: cold` it has its initial weights. The cycle's own detector is not used: it has learnt from the
    reward images, or has made their pseudo-labels.

    Parameters
    ----------
    weights
        The file that the step `weights` wrote, if `detector.weights` names some.
    gpus
        0 for the CPU, 1 for a GPU.
    """
    classes, weights_seed = len(data.dataset.categories), derive_seed(seed, "weights")
    detector = build_detector(config.detector, classes, weights_seed, weights).to(choose_device(gpus))
    if plan.start == "warm":
        labelled = training_images(data.dataset, data.images, plan.base)
        iterations = require_set(config.iterations.base, "iterations.base")
        draws = derive_seed(seed, "base", cycle, split)
        train_detector(detector, labelled, config.training, iterations, draws, "base", checkpoint=checkpoint)
    return detector


def train_variants(
    config: Config,
    data: ImageSet,
    plan: SubsetPlan,
    base: DetectorModel,
    numbers: Iterable[int],
    seed: int,
    cycle: int,
    split: int,
    *,
    pseudo_labels: PseudoLabels | None = None,
    checkpoint_of: Callable[[int], Checkpoint | None] = lambda variant: None,
) -> list[Variant]:
    """Train variants from the base weights, one after the other, and measure their mAP on the reward images.

    All variants of a table use the same seed, so that random numbers do not explain their differences. With `labels:
    labels` and `start: cold`, larger subsets get more optimiser steps, as detectors do. Images of the pool are used
    with pseudo-labels or without labels.

    Parameters
    ----------
    base
        The detector from which variants start. It is not changed, and variants are trained on its device.
    numbers
        Numbers of the variants to train, among 0..K.
    pseudo_labels
        Pseudo-labels of the pool, which a plan with `labels: pseudo_labels` requires.
    checkpoint_of
        Returns the checkpoint of a variant, given its number.

    Raises
    ------
    InputError
        If pseudo-labels are missing.
    SparseError
        If no reward image has a box. Nothing is trained then.
    """
    dataset, truth = data.without_labels(_without_labels(plan, data)).dataset, data.truth()
    if plan.labels == "pseudo_labels":
        if pseudo_labels is None:
            raise InputError("the variants of this plan learn from pseudo-labels; pass them")
        dataset, truth = with_pseudo_labels(pseudo_labels, dataset), pseudo_truth(pseudo_labels, truth)
    truth = of_images(truth, plan.reward)
    if all(annotation["iscrowd"] for annotation in truth["annotations"]):
        raise SparseError(
            f"no object is {'found' if pseudo_labels else 'labelled'} in the images that rewards are measured on"
        )
    with_labels = plan.labels != "consistency"
    draws = derive_seed(seed, "variant", cycle, split)
    variants = []
    for number in numbers:
        subset = plan.subsets[number]
        learnt_images = plan.base + subset if with_labels else plan.base
        unlabelled = None
        if subset and not with_labels:
            unlabelled = Unlabelled(
                training_images(dataset, data.images, subset, labels=False),
                config.semi_supervised.batch_size,
                config.semi_supervised.weight,
            )
        detector, name, checkpoint = deepcopy(base), f"variant {number}", checkpoint_of(number)
        iterations = _iterations(config, plan, number)
        if learnt_images:  # only variant 0 of a plan without base images has nothing to learn from
            labelled = training_images(dataset, data.images, learnt_images)
            train_detector(detector, labelled, config.training, iterations, draws, name, unlabelled, checkpoint)
        detections = detect_images(detector, dataset, data.images, dataset.rows(plan.reward), config.evaluation)
        scores = score_detections(truth, detections, plan.reward)
        class_map = [class_score["map"] for class_score in scores["per_class"]]
        variants.append(Variant(number, len(subset), scores["map"], scores["ap50"], class_map))
        if checkpoint:
            checkpoint.remove()
    return variants


def _iterations(config: Config, plan: SubsetPlan, number: int) -> int:
    """Return a variant's optimiser steps, which are a detector's with `labels: labels` and `start: cold`."""
    if plan.start == "warm" or plan.labels != "labels":
        base_iterations = require_set(config.iterations.base, "iterations.base") if plan.start == "cold" else 0
        return base_iterations + require_set(config.iterations.variant, "iterations.variant")
    images = len(plan.base) + len(plan.subsets[number])
    return detector_iterations(config, images) if images else 0


def _without_labels(plan: SubsetPlan, data: ImageSet) -> list[int]:
    """Return the ids of the images whose labels no variant may read."""
    labelled = {*plan.base}
    if plan.labels != "pseudo_labels":
        labelled |= {*plan.reward}
    if plan.labels == "labels":
        labelled |= {image for subset in plan.subsets for image in subset}
    return [image for image in data.dataset.image_ids.tolist() if image not in labelled]
