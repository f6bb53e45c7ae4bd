"""How well each class is detected, as a training gathers it."""

import pytest
import torch

from mgral.models.build import build_detector, load_detector, save_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.interface import Targets
from mgral.models.quality import ClassQuality, paired_iou


def test_quality_is_a_moving_average_a_class_that_is_free_of_its_start():
    quality = ClassQuality(3)
    quality.update(torch.tensor([0.5, 0.3, 1.0]), torch.tensor([0.6, 0.8, 1.0]), torch.tensor([0, 0, 2]))
    first = (0.5**0.6 * 0.6**0.4 + 0.3**0.6 * 0.8**0.4) / 2
    assert quality.values.tolist() == pytest.approx([first, 0, 1], rel=1e-5)
    quality.update(torch.tensor([0.9]), torch.tensor([0.7]), torch.tensor([0]))
    second = 0.9**0.6 * 0.7**0.4
    assert quality.values.tolist() == pytest.approx([(0.99 * first + second) / 1.99, 0, 1], rel=1e-5)
    for _ in range(2000):
        quality.update(torch.tensor([0.2]), torch.tensor([0.2]), torch.tensor([1]))
    assert quality.values[1].item() == pytest.approx(0.2, rel=1e-3)
    assert quality.values[2].item() == pytest.approx(1, rel=1e-5), "a class that no batch has is forgotten"


def test_overlap_in_pairs():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 1, 1]])
    others = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [2, 2, 3, 3]])
    assert paired_iou(boxes, others).tolist() == pytest.approx([1, 1 / 7, 0])


def test_a_detector_notes_its_matched_anchors_in_training_only_and_keeps_them_in_its_file(tmp_path):
    config = SmallSSDConfig(width=64, height=64, channels=4)
    detector = build_detector(config, classes=2, seed=0)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    box = torch.tensor([[[10.0, 10.0, 40.0, 40.0]]]).expand(2, 1, 4)
    targets = Targets(box, torch.zeros(2, 1, dtype=torch.int64))
    detector.eval().loss(detector.predictions(images), targets)
    assert detector.class_quality.values.tolist() == [0, 0]
    predictions = detector.train().predictions(images)
    detector.loss(predictions, targets)
    image, anchor = (detector.match(targets) >= 0).nonzero(as_tuple=True)
    probabilities = predictions.logits.softmax(-1)[image, anchor, 1]
    overlaps = paired_iou(
        detector.decode(predictions.offsets[image, anchor], detector.anchors[anchor]), box[image, 0]
    )
    expected = (probabilities**0.6 * overlaps**0.4).mean().item()
    assert detector.class_quality.values.tolist() == pytest.approx([expected, 0], rel=1e-4)
    assert 0 < expected < 1
    save_detector(detector, tmp_path / "d.safetensors")
    assert torch.equal(
        load_detector(tmp_path / "d.safetensors", config, 2).class_quality.values, detector.class_quality.values
    )
