"""The consistency loss, by which a training learns from images without labels."""

import math

import pytest
import torch
from squares import DETECTOR, NO_AUGMENTATION, labelled_squares, squares

from mgral.config import TrainingConfig
from mgral.models.build import build_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.interface import Predictions
from mgral.models.ssd import BACKGROUND_BIAS
from mgral.training.batches import TrainingImages, training_images
from mgral.training.consistency import consistency_loss, prediction_distance, ramp
from mgral.training.loop import Unlabelled, train_detector


@pytest.fixture
def labelled() -> TrainingImages:
    return labelled_squares()


def test_ramp_follows_csd() -> None:
    assert ramp(0, 120) == pytest.approx(math.exp(-5))
    assert ramp(16, 120) == pytest.approx(math.exp(-5 * 0.25))
    assert [ramp(t, 120) for t in (32, 60, 100)] == [1, 1, 1]
    assert ramp(110, 120) == pytest.approx(math.exp(-12.5 * 0.25))
    assert ramp(120, 120) == pytest.approx(math.exp(-12.5))


def test_consistency_is_zero_on_a_symmetric_network_and_positive_otherwise() -> None:
    # With an odd width, a strided filter sees a mirrored image as the mirror of what it saw.
    detector = build_detector(SmallSSDConfig(width=65, height=65, channels=4), 2, seed=0).eval()
    images = torch.rand(2, 3, 65, 65) * 255
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if "classification_head" in name and parameter.ndim == 1:
                parameter.view(-1, 3)[:, 1] += BACKGROUND_BIAS + 3  # so that anchors are taken for objects
        assert consistency_loss(detector, images).item() > 1e-5
        for name, parameter in detector.named_parameters():
            if parameter.ndim == 4:
                parameter += parameter.flip(3)
            if "regression_head" in name:
                parameter.view(-1, 4, *parameter.shape[1:])[:, 0] = 0  # a symmetric filter cannot answer dx
        assert detector.predictions(images).logits.argmax(-1).gt(0).any()
        assert consistency_loss(detector, images).item() == pytest.approx(0, abs=1e-8)


def test_consistency_of_one_anchor_by_hand() -> None:
    detector = build_detector(DETECTOR, 1, seed=0)
    plain = Predictions(torch.tensor([[[0.0, 1.0], [5.0, 0.0]]]), torch.tensor([[[1.0, 0, 0, 0], [9, 9, 9, 9]]]))
    mirrored = Predictions(torch.tensor([[[0.0, 0.0], [0.0, 5.0]]]), torch.zeros(1, 2, 4))
    p = 1 / (1 + math.exp(-1))
    symmetric_kl = 0.5 * ((p - 0.5) * math.log(p / 0.5) + (0.5 - p) * math.log((1 - p) / 0.5))
    # The second anchor is background in the plain image and does not count.
    assert prediction_distance(detector, plain, mirrored).item() == pytest.approx(symmetric_kl + 0.25, rel=1e-5)


def test_consistency_without_a_found_object_is_zero() -> None:
    detector = build_detector(DETECTOR, 1, seed=0)
    background = Predictions(torch.tensor([[[5.0, 0.0]]]), torch.zeros(1, 1, 4))
    assert prediction_distance(detector, background, background).item() == 0


def test_unlabelled_images_leave_the_labelled_batches_as_they_were() -> None:
    dataset, images = squares()
    labelled = training_images(dataset, images, dataset.image_ids[:6])
    extra = training_images(dataset, images, dataset.image_ids[6:], labels=False)
    config = TrainingConfig(batch_size=4, augmentation=NO_AUGMENTATION)
    first_losses, consistencies = [], []
    for unlabelled in (None, Unlabelled(extra, 4, 1.0)):
        detector = build_detector(DETECTOR, 1, seed=0)
        history = train_detector(detector, labelled, config, 20, seed=5, step="variant", unlabelled=unlabelled)
        first_losses.append(history[0]["loss"])
        consistencies.append(sum(row["consistency"] for row in history))
    assert first_losses[0] == first_losses[1]
    assert consistencies[0] == 0 < consistencies[1]


def test_unlabelled_images_carry_no_label() -> None:
    dataset, images = squares()
    extra = training_images(dataset, images, dataset.image_ids, labels=False)
    assert extra.targets.labels.numel() == 0


def test_consistency_reaches_the_network(labelled: TrainingImages) -> None:
    detector = build_detector(DETECTOR, 1, seed=0)
    head = detector.ssd.head.classification_head.module_list[0].bias
    with torch.no_grad():
        head.view(-1, 2)[:, 1] += 3
    consistency_loss(detector, labelled.batch(torch.arange(4))[0].float()).backward()
    assert head.grad.abs().sum() > 0
