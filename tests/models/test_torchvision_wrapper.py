"""Torchvision's detectors behind one wrapper: its own detections, losses, frozen layers, weights, exact reruns."""

from functools import cache

import pytest
import torch
import torchvision.models.detection as published
from any_detector import differing, found_in_squares, resumed, trained
from slow import full, slow
from torchvision.models import WeightsEnum, mobilenet_v3_large, resnet50
from torchvision.ops import FrozenBatchNorm2d

from mgral.config import resolve_config
from mgral.errors import InputError
from mgral.models.build import load_detector, random_detector, save_detector
from mgral.models.detectors.torchvision import FACTS, TorchvisionDetectorConfig
from mgral.models.interface import Targets, pooled
from mgral.models.suppression import Limits
from mgral.models.weights import fitting_weights

CLASSES = 3
FAST = ("fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large")
MODELS = [pytest.param(name, marks=() if name == FAST[0] else slow) for name in FACTS]
every_model = pytest.mark.parametrize("model", MODELS)


def settings(model: str, **changed) -> TorchvisionDetectorConfig:
    side = 320 if model.startswith("ssdlite") else 64
    given = {"weights": None, "width": side, "height": side} | changed
    return TorchvisionDetectorConfig(name="torchvision", model=model, **given)


@cache
def detector_of(model: str):
    """Built once, with scores that differ and statistics of a batch; tests leave it as it is."""
    detector = random_detector(settings(model), CLASSES, seed=0)
    generator = torch.Generator().manual_seed(0)
    head = getattr(detector.model, "head", None) or detector.model.roi_heads.box_predictor
    with torch.no_grad():
        for values in head.parameters():
            values.add_(0.1 * torch.randn(values.shape, generator=generator))
        detector(images(detector), targets())
    return detector.eval()


def images(detector) -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, *detector.size), generator=torch.Generator().manual_seed(1)).byte()


def targets() -> Targets:
    """A box in the first image, none in the second."""
    return Targets(torch.tensor([[[4.0, 4, 50, 40]], [[0.0, 0, 0, 0]]]), torch.tensor([[1], [-1]]))


@every_model
@torch.no_grad()
def test_it_finds_what_torchvisions_own_model_finds(model):
    detector = detector_of(model)
    own, limits = detector.model, Limits(0.05, 0.5, 50)
    height, width = detector.size
    own.transform.min_size, own.transform.max_size = (min(height, width),), max(height, width)
    searched = getattr(own, "roi_heads", own)
    searched.score_thresh, searched.nms_thresh, searched.detections_per_img = limits
    searched.topk_candidates = 10**6
    shown = images(detector)
    expected = own(list(shown.float() / 255))
    features, found = detector.features_and_detections(shown, limits)
    first_label = 0 if model.startswith(("fcos", "retinanet")) else 1
    for one, theirs in zip(found, expected, strict=True):
        assert len(one.boxes) > 5
        torch.testing.assert_close(one.scores, theirs["scores"], atol=1e-4, rtol=1e-4)
        distinct = one.scores[:-1] - one.scores[1:] > 1e-4  # as equal scores have no order
        rows = torch.cat([torch.tensor([True]), distinct]) & torch.cat([distinct, torch.tensor([True])])
        assert torch.equal(one.labels[rows] + first_label, theirs["labels"][rows])
        torch.testing.assert_close(one.boxes[rows], theirs["boxes"][rows], atol=0.05, rtol=1e-3)
        assert one.distributions.shape == (len(one.boxes), CLASSES + 1)
        torch.testing.assert_close(one.distributions.sum(1), torch.ones(len(one.boxes)))
        if first_label:
            own_class = one.distributions.gather(1, one.labels[:, None] + 1)[:, 0]
            torch.testing.assert_close(own_class, one.scores)
    maps = own.backbone((shown.float() / 255 - detector.mean / 255) / (detector.deviation / 255))
    torch.testing.assert_close(features, pooled(list(maps.values())), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(detector.features(shown), features)


@every_model
def test_losses_are_torchvisions_of_normalised_images(model):
    """Its transform is told that images have the right size, and nothing else."""
    detector = detector_of(model).train()
    shown, boxes = images(detector), targets()
    labels = 1 if model.startswith(("fcos", "retinanet")) else 2
    theirs = [
        {"boxes": torch.tensor([[4.0, 4, 50, 40]]), "labels": torch.tensor([labels])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    before = {name: one.clone() for name, one in detector.state_dict().items()}
    torch.manual_seed(3)
    found = detector(shown, boxes)
    detector.load_state_dict(before)
    torch.manual_seed(3)
    expected = detector.model(list(shown / 255), theirs)
    detector.load_state_dict(before)
    detector.eval()
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        assert torch.isfinite(loss)
        torch.testing.assert_close(loss, expected[name])


@pytest.mark.parametrize(
    ("model", "iterations"),
    [*((name, 2) for name in FAST), *(pytest.param(name, 6, marks=slow if name in FAST else full) for name in FACTS)],
)
def test_trainings_give_the_same_bytes_also_from_a_checkpoint(model, iterations, tmp_path, monkeypatch):
    # Large enough that Faster R-CNN draws some of its proposals only.
    config = settings(model, **({"width": 192, "height": 192} if "fasterrcnn" in model else {}))
    first, history = trained(config, iterations)
    second, again = resumed(config, iterations, tmp_path / "checkpoint", monkeypatch)
    assert history == again
    assert differing(first, second) == []
    assert found_in_squares(first, config) == found_in_squares(second, config)
    save_detector(first, tmp_path / "d.safetensors")
    assert differing(first, load_detector(tmp_path / "d.safetensors", config, 1)) == []


def published_model(model: str, monkeypatch, **asked):
    """Torchvision's model as it builds it for published weights, of which random ones take the place."""
    kinds = {"MobileNet_V3_Large_Weights": mobilenet_v3_large, "ResNet50_Weights": resnet50}

    def random_weights(weights, *_, **__):
        return kinds[type(weights).__name__](weights=None).state_dict()

    with monkeypatch.context() as patch:
        patch.setattr(WeightsEnum, "get_state_dict", random_weights)
        return published.__dict__[model](weights=None, num_classes=2, **asked)


@pytest.mark.parametrize("layers", [2, *(pytest.param(count, marks=slow) for count in (0, 3, 5))])
@pytest.mark.parametrize("model", [one for one in MODELS if one.values[0] != FAST[1]])
def test_the_same_layers_are_frozen_as_by_torchvision(model, layers, monkeypatch):
    name = FACTS[model].weights[1]
    theirs = published_model(model, monkeypatch, weights_backbone=name, trainable_backbone_layers=layers)
    with torch.device("meta"):
        ours = random_detector(settings(model, weights=name, trainable_layers=layers), 1, seed=0).model
    trains = {key: one.requires_grad for key, one in theirs.named_parameters()}
    assert {key: one.requires_grad for key, one in ours.named_parameters()} == trains
    kinds = {key: type(one) for key, one in theirs.named_modules() if "Norm" in type(one).__name__}
    own = {key: type(one) for key, one in ours.named_modules() if "Norm" in type(one).__name__}
    assert own == kinds
    assert (FrozenBatchNorm2d in kinds.values()) == (model in (FAST[0], "fcos_resnet50_fpn"))


def test_published_weights_of_a_backbone_and_of_a_detector_are_taken():
    """MobileNet's names have a `features.` of their own; another number of classes starts anew."""
    model = FAST[0]
    detector = random_detector(settings(model, weights=FACTS[model].weights[0]), CLASSES, seed=0)
    backbone = mobilenet_v3_large(weights=None).state_dict()
    fits, _ = fitting_weights(detector, backbone, "mobilenet")
    weight = "model.backbone.body.4.block.0.0.weight"
    assert torch.equal(fits[weight], backbone["features.4.block.0.0.weight"])
    assert {name.startswith("model.backbone.body.") for name in fits} == {True}
    whole = published.__dict__[model](weights=None, weights_backbone=None, num_classes=91).state_dict()
    fits, words = fitting_weights(detector, whole, "coco")
    lacking = set(detector.state_dict()) - set(fits)
    assert {name.split(".predictor")[0] for name in lacking} == {
        f"model.roi_heads.box_predictor.{kind}" for kind in ("cls_score.weight", "cls_score.bias")
    } | {f"model.roi_heads.box_predictor.{kind}" for kind in ("bbox_pred.weight", "bbox_pred.bias")}
    assert "starts anew" in words


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"weights": "COCO_V1"},
            r"detector\.weights: 'COCO_V1' is neither SSDLite320_\w+\.COCO_V1, which",
        ),
        ({"width": 640}, r"detector\.width: ssdlite320_mobilenet_v3_large is made for 320 x 320"),
        ({"model": FAST[0], "width": 100}, r"detector\.width"),
        ({"model": "fcos_resnet50_fpn", "trainable_layers": 6}, r"trainable_layers: .* has 5 stages; lower it"),
        ({"model": "yolo"}, r"detector\.model"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    given = {"name": "torchvision", "model": FAST[1], "weights": None} | changed
    with pytest.raises(InputError, match=message):
        resolve_config({"detector": given})


def test_a_part_of_one_image_is_refused_where_a_map_is_one_cell():
    given = {"name": "torchvision", "model": FAST[1], "weights": None}
    with pytest.raises(InputError, match=r"training\.batch_size: parts of 1 images .*; raise it to 8 or more"):
        resolve_config({"detector": given, "training": {"batch_size": 7, "accumulate": 4}})
    assert resolve_config({"detector": given, "training": {"batch_size": 8, "accumulate": 4}})
