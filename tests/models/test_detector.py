"""The detector: its loss against torchvision's own, its mirror, its files."""

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from mgral.errors import InputError
from mgral.models.build import build_detector, load_detector, save_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.flip import mirror_cells
from mgral.models.interface import DenseModel, Predictions, Targets
from mgral.models.multibox import match_anchors
from mgral.models.small_ssd import SmallSSD
from mgral.models.ssd import MATCH_IOU
from mgral.models.suppression import Limits

CONFIG = SmallSSDConfig(width=96, height=64, channels=4)


@pytest.fixture
def detector() -> SmallSSD:
    built = build_detector(CONFIG, classes=3, seed=1)
    assert isinstance(built, SmallSSD)
    return built


def random_targets(generator: torch.Generator) -> Targets:
    """Five images with 0, 1, 3, 6 and 6 boxes."""
    counts = [0, 1, 3, 6, 6]
    corner = torch.rand(5, 6, 2, generator=generator) * torch.tensor([60.0, 40.0])
    side = 4 + torch.rand(5, 6, 2, generator=generator) * torch.tensor([36.0, 24.0])
    labels = torch.randint(0, 3, (5, 6), generator=generator)
    valid = torch.arange(6) < torch.tensor(counts)[:, None]
    return Targets(torch.cat([corner, corner + side], 2) * valid[..., None], torch.where(valid, labels, -1))


def as_list(targets: Targets) -> list[dict[str, Tensor]]:
    return [
        {"boxes": boxes[labels >= 0], "labels": labels[labels >= 0] + 1}
        for boxes, labels in zip(targets.boxes, targets.labels, strict=True)
    ]


def test_loss_equals_torchvisions_ssd(detector: SmallSSD) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 64, 96, generator=generator) * 255
    targets = random_targets(generator)
    predictions = detector.train().predictions(images)
    anchors = [detector.anchors] * 5
    matched = [
        detector.ssd.proposal_matcher(box_iou(one["boxes"], detector.anchors))
        if len(one["boxes"])
        else torch.full((len(detector.anchors),), -1)
        for one in as_list(targets)
    ]
    outputs = {"bbox_regression": predictions.offsets, "cls_logits": predictions.logits}
    expected = detector.ssd.compute_loss(as_list(targets), outputs, anchors, matched)
    assert torch.equal(match_anchors(detector.anchors, targets, MATCH_IOU), torch.stack(matched))
    torch.testing.assert_close(detector.loss(predictions, targets), sum(expected.values()))


def test_loss_without_any_box_is_finite(detector: SmallSSD) -> None:
    empty = Targets(torch.zeros(2, 0, 4), torch.zeros(2, 0, dtype=torch.int64))
    assert detector.loss(detector.predictions(torch.zeros(2, 3, 64, 96)), empty).item() == 0


def test_anchors_are_those_of_torchvision(detector: SmallSSD) -> None:
    image = ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)])
    maps = list(detector.ssd.backbone(torch.zeros(1, 3, 64, 96)).values())
    torch.testing.assert_close(detector.anchors, detector.ssd.anchor_generator(image, maps)[0])


def test_mirror_moves_each_anchor_to_its_mirror_image(detector: SmallSSD) -> None:
    x1, y1, x2, y2 = detector.anchors.unbind(1)
    mirrored_anchors = torch.stack([96 - x2, y1, 96 - x1, y2], 1)
    moved = mirror_cells(detector.anchors[None], detector.grids, detector.anchors_a_cell)[0]
    torch.testing.assert_close(moved, mirrored_anchors)


def test_mirror_twice_is_the_identity(detector: SmallSSD) -> None:
    predictions = detector.predictions(torch.rand(2, 3, 64, 96) * 255)
    twice = detector.mirror(detector.mirror(predictions))
    torch.testing.assert_close(twice.logits, predictions.logits)
    torch.testing.assert_close(twice.offsets, predictions.offsets)


def test_perfect_predictions_are_detected(detector: SmallSSD) -> None:
    targets = random_targets(torch.Generator().manual_seed(0))
    matched = match_anchors(detector.anchors, targets, 0.5)
    logits = torch.zeros(5, len(detector.anchors), 4)
    logits[..., 0] = 20
    offsets = torch.zeros(5, len(detector.anchors), 4)
    for image, anchor in (matched >= 0).nonzero().tolist():
        box = int(matched[image, anchor])
        logits[image, anchor, 0] = 0
        logits[image, anchor, 1 + targets.labels[image, box]] = 20
        goal = targets.boxes[image, box][None], detector.anchors[anchor][None]
        offsets[image, anchor] = detector.ssd.box_coder.encode_single(*goal)[0]
    found = detector.find(Predictions(logits, offsets), Limits(0.5, 0.45, 100))
    assert [len(one.boxes) for one in found] == [(labels >= 0).sum() for labels in targets.labels]
    for one, boxes, labels in zip(found, targets.boxes, targets.labels, strict=True):
        order = box_iou(boxes[labels >= 0], one.boxes).argmax(1) if len(one.boxes) else torch.zeros(0, dtype=int)
        torch.testing.assert_close(one.boxes[order], boxes[labels >= 0], atol=1e-3, rtol=0)
        assert torch.equal(one.labels[order], labels[labels >= 0])


def test_weights_are_drawn_by_seed_and_leave_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, second, other = (build_detector(CONFIG, 3, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    name = "ssd.backbone.stem.0.weight"
    assert torch.equal(first[name], second[name])
    assert not torch.equal(first[name], other[name])


def test_saved_weights_predict_the_same(detector: DenseModel, tmp_path) -> None:
    save_detector(detector, tmp_path / "d.safetensors")
    loaded = load_detector(tmp_path / "d.safetensors", CONFIG, classes=3)
    images = torch.rand(1, 3, 64, 96) * 255
    torch.testing.assert_close(loaded.predictions(images).logits, detector.eval().predictions(images).logits)


def test_damaged_weights_and_another_architecture_are_named(detector: DenseModel, tmp_path) -> None:
    path = tmp_path / "d.safetensors"
    save_detector(detector, path)
    with pytest.raises(InputError, match=r"d\.safetensors does not contain this detector"):
        load_detector(path, CONFIG, classes=5)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"d\.safetensors does not contain this detector"):
        load_detector(path, CONFIG, classes=3)
