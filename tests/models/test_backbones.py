"""What detectors start from: which layers published weights and a user's files fill, and which are trained."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision.models import resnet50
from torchvision.models.detection import retinanet_resnet50_fpn

from mgral.errors import InputError, StepError
from mgral.models import weights
from mgral.models.build import build_detector, random_detector, save_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.ssd300 import SSD300Config
from mgral.models.detectors.timm import SSDConfig, TimmRetinaNetConfig
from mgral.models.weights import fitting_weights, obtain_weights, read_weights
from mgral.training.devices import share_statistics

SSD_SETTINGS = {
    "width": 64,
    "height": 64,
    "pyramid_channels": 8,
    "strides": (4, 8, 16, 32),
    "anchor_scales": (0.08, 0.15, 0.28, 0.5, 0.8),
    "aspect_ratios": (2.0,),
}


def test_ssd300_takes_vgg16_and_trains_all_but_its_first_stage(tmp_path):
    config = SSD300Config(name="ssd300_vgg16")
    random = random_detector(config, 1, seed=0)
    state = {
        f"features.{index}.{name}": torch.randn_like(values)
        for index, layer in enumerate(random._vgg())
        for name, values in layer.state_dict().items()
    }
    assert "features.28.bias" in state
    start, line = fitting_weights(random, state | {"classifier.0.weight": torch.zeros(2)}, "VGG16")
    assert len(start) == len(state)
    assert line.startswith(
        f"loaded {len(state)} of 71 tensors from VGG16; starts anew: ssd.backbone.scale_weight (1), "
    )
    save_file(start, tmp_path / "w.safetensors")
    network = build_detector(config, 1, 0, tmp_path / "w.safetensors")
    assert torch.equal(network.ssd.backbone.features[0].weight, state["features.0.weight"])
    assert torch.equal(network.ssd.backbone.extra[0][5].weight, state["features.28.weight"])
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == [f"ssd.backbone.features.{layer}.{name}" for layer in (0, 2) for name in ("weight", "bias")]
    with pytest.raises(InputError, match=r"detector\.weights is VGG16_Weights\..*; give its file by --weights"):
        build_detector(config, 1, 0)
    with pytest.raises(InputError, match="starts from random weights as configured; leave out --weights"):
        build_detector(SmallSSDConfig(), 1, 0, tmp_path / "w.safetensors")
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors does not contain weights of this detector"):
        build_detector(config, 1, 0, tmp_path / "w.safetensors")


def test_retinanet_takes_resnet50_and_keeps_its_batch_normalisation():
    network = random_detector(RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128), 1, 0)
    state = resnet50(weights=None).state_dict()
    start, _ = fitting_weights(network, state, "ResNet50")
    assert torch.equal(start["retinanet.backbone.body.layer4.0.conv1.weight"], state["layer4.0.conv1.weight"])
    body = network.retinanet.backbone.body
    assert len(start) == len(body.state_dict())
    trained = {name.split(".")[0] for name, parameter in body.named_parameters() if parameter.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert not any("bn" in name for name, _ in body.named_parameters())


def test_retinanet_takes_torchvisions_detector_by_its_old_names_too():
    """Those of the file that torchvision publishes: `fpn.inner_blocks.0.weight`, `head....conv.2.weight`."""
    theirs = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=91).state_dict()
    old = {
        name.replace("blocks.0.0.", "blocks.0.").replace("_head.conv.1.0.", "_head.conv.2."): values
        for name, values in theirs.items()
    }
    assert old.keys() != theirs.keys()
    network = random_detector(RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128), 2, 0)
    start, line = fitting_weights(network, old, "old.pth")
    assert torch.equal(
        start["retinanet.head.classification_head.conv.1.0.weight"],
        theirs["head.classification_head.conv.1.0.weight"],
    )
    assert line.endswith("; starts anew: retinanet.head.classification_head: other shape (2)")


@pytest.mark.parametrize(
    "config",
    [
        SmallSSDConfig(width=64, height=64, channels=4),
        SSDConfig(name="ssd", **SSD_SETTINGS),
        TimmRetinaNetConfig(name="retinanet", **SSD_SETTINGS),
    ],
    ids=lambda config: config.name,
)
@pytest.mark.parametrize("form", ["own", "wrapped", "backbone"])
def test_an_earlier_detector_is_taken_and_its_class_head_starts_anew(config, form, tmp_path):
    earlier, now = random_detector(config, 5, seed=1), random_detector(config, 3, seed=2)
    path = tmp_path / ("w.safetensors" if form == "own" else "w.pth")
    if form == "own":
        save_detector(earlier, path)
    elif form == "wrapped":
        torch.save({"epoch": 3, "model": {f"module.{k}": v for k, v in earlier.state_dict().items()}}, path)
    else:
        torch.save(earlier.pretrained.state_dict(), path)
    start, line = fitting_weights(now, read_weights(path), "w")
    own, others = now.state_dict(), earlier.state_dict()
    assert all(
        torch.equal(values, others[name]) and values.shape == own[name].shape for name, values in start.items()
    )
    anew = {name for name in own if name not in start and "num_batches" not in name and "quality" not in name}
    if form == "backbone":
        prefix = next(name for name, module in now.named_modules() if module is now.pretrained)
        assert anew == {name for name in own if not name.startswith(prefix)} - {k for k in own if "quality" in k} - {
            name for name in own if "num_batches" in name
        }
    else:
        assert anew
        assert all("classification_head" in name for name in anew)
        assert f"classification_head: other shape ({len(anew)})" in line
    assert line.startswith(f"loaded {len(start)} of {len(start) + len(anew)} tensors from w; starts anew: ")


def test_a_classifier_of_timms_fills_its_backbone():
    for name in ("resnet10t", "convnext_atto", "mobilenetv3_small_050"):
        theirs = timm.create_model(name, pretrained=False).state_dict()
        settings = {**SSD_SETTINGS, "backbone": name}
        network = random_detector(SSDConfig(name="ssd", **settings), 2, 0)
        start, _ = fitting_weights(network, theirs, name)
        weights = [key for key in network.pretrained.state_dict() if "num_batches" not in key]
        assert len(start) == len(weights) > 50
        network.load_state_dict(network.state_dict() | start)
        first = next(iter(network.pretrained.parameters()))
        assert torch.equal(first, next(iter(theirs.values())))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"c": torch.zeros(2), "a.b": torch.zeros(2)},
            r"no tensor of w fits SmallSSD as it is configured; it holds a\.b, c",
        ),
        ([1, 2], r"w\.pth contains no state dict; give what torch\.save"),
        (b"no weights", r"w\.pth contains no weights that can be read \(other objects than tensors"),
        (b"hello", r"w\.pth contains no weights that can be read \(it is no file of torch's\)"),
        (b"", r"w\.pth contains no weights that can be read \(it is empty\)"),
        ({}, r"no tensor of w fits SmallSSD as it is configured; it holds none; give"),
        (None, r"w\.pth: No such file"),
    ],
)
def test_a_file_that_will_not_do_says_what_will(content, message, tmp_path):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message):
        fitting_weights(random_detector(SmallSSDConfig(channels=4), 2, 0), read_weights(path), "w")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one * float("nan"), r"\d+ tensors of w contain numbers that are not finite, such as ssd\."),
        (
            lambda one: (100 * one).int(),
            r"\d+ tensors of w contain no real numbers, such as ssd\.[\w.]+ \(torch\.int32\)",
        ),
        (lambda one: one.to("meta"), r"\d+ tensors of w contain no real numbers"),
        (lambda one: one.to(torch.complex64), r"\d+ tensors of w contain no real numbers"),
    ],
)
def test_weights_without_real_numbers_are_refused(change, message):
    network = random_detector(SmallSSDConfig(channels=4), 2, 0)
    with pytest.raises(InputError, match=message):
        fitting_weights(network, {name: change(one) for name, one in network.state_dict().items()}, "w")


def test_names_of_a_compiled_network_on_several_gpus_are_known(tmp_path):
    network = random_detector(SmallSSDConfig(channels=4), 2, 0)
    path = tmp_path / "w.pth"
    torch.save({"module._orig_mod." + name: one.half() for name, one in network.state_dict().items()}, path)
    start, line = fitting_weights(network, read_weights(path), "w")
    assert line == f"loaded {len(start)} of {len(start)} tensors from w"


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18"])
def test_statistics_that_several_gpus_share_change_nothing_else(backbone):
    """torch's own conversion drops the activations in timm's normalisation layers."""
    config = SSDConfig(name="ssd", weights=None, backbone=backbone, **SSD_SETTINGS)
    own, shared = (random_detector(config, 2, seed=0).eval() for _ in range(2))
    shared = share_statistics(shared)
    assert own.state_dict().keys() == shared.state_dict().keys()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
    assert torch.equal(own.predictions(images).logits, shared.predictions(images).logits)


def test_frozen_statistics_stay_frozen_where_several_gpus_share_them():
    config = SSDConfig(name="ssd", weights=None, batch_norm="frozen", frozen_stages=1, **SSD_SETTINGS)
    body = share_statistics(random_detector(config, 2, seed=0)).train().pretrained
    layers = [one for one in body.modules() if isinstance(one, torch.nn.modules.batchnorm._BatchNorm)]
    assert layers
    assert not any(one.training for one in layers)


def test_the_gradient_of_a_map_of_one_cell_is_whole_in_bfloat16_too():
    """At 64 pixels stride 64 has one cell: of the 3 x 3 weights that halve it, eight see padding alone."""
    settings = SSD_SETTINGS | {"width": 64, "height": 64, "strides": (16, 32, 64, 128), "pyramid_channels": 64}
    detector = random_detector(SSDConfig(name="ssd", **settings), 2, seed=0)
    generator = torch.Generator().manual_seed(0)
    images, factors = (
        torch.rand(4, 3, 64, 64, generator=generator) * 255,
        torch.randn(4, 64, 1, 1, generator=generator),
    )
    with torch.autocast("cpu", torch.bfloat16):
        maps = detector.maps(images)
    assert [one.dtype for one in maps[1:]] == [torch.bfloat16, torch.float32, torch.float32]
    (maps[-1] * factors).sum().backward()
    gradient = detector.pyramid.coarser[1][0].weight.grad.flatten(2)
    middle = torch.arange(9) == 4
    assert torch.isfinite(gradient).all()
    assert (gradient[..., ~middle] == 0).all()
    assert (gradient[..., middle] != 0).any()


def test_without_a_network_it_says_that_a_file_will_do(tmp_path, monkeypatch):
    def fails(*_):
        raise StepError("no connection")

    monkeypatch.setattr(weights, "fetch", fails)
    with pytest.raises(StepError, match=r"no connection; or get the file by other means and set detector\.weights"):
        obtain_weights(SSDConfig(name="ssd", backbone="resnet50", **SSD_SETTINGS), None, tmp_path)
