"""Pre-trained backbones: which weights SSD300 and RetinaNet take, and which layers they train on."""

import pytest
import torch
from torchvision.models import resnet50

from mgral.errors import InputError
from mgral.models.build import build_detector, random_detector
from mgral.models.detectors.retinanet import RetinaNetConfig
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.detectors.ssd300 import SSD300Config


def test_ssd300_takes_vgg16_and_trains_all_but_its_first_stage(tmp_path):
    config = SSD300Config(name="ssd300_vgg16")
    random = random_detector(config, 1, seed=0)
    state = {
        f"features.{index}.{name}": torch.randn_like(values)
        for index, layer in enumerate(random._vgg())
        for name, values in layer.state_dict().items()
    }
    assert "features.28.bias" in state
    torch.save(state | {"classifier.0.weight": torch.zeros(2)}, tmp_path / "w.pth")
    network = build_detector(config, 1, 0, tmp_path / "w.pth")
    assert torch.equal(network.ssd.backbone.features[0].weight, state["features.0.weight"])
    assert torch.equal(network.ssd.backbone.extra[0][5].weight, state["features.28.weight"])
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert frozen == [f"ssd.backbone.features.{layer}.{name}" for layer in (0, 2) for name in ("weight", "bias")]
    with pytest.raises(InputError, match=r"detector\.weights is VGG16_Weights\..*; give its file by --weights"):
        build_detector(config, 1, 0)
    with pytest.raises(InputError, match="starts from random weights as configured; leave out --weights"):
        build_detector(SmallSSDConfig(), 1, 0, tmp_path / "w.pth")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth does not hold the weights of this detector's backbone"):
        build_detector(config, 1, 0, tmp_path / "w.pth")


def test_retinanet_takes_resnet50_and_keeps_its_batch_normalisation(tmp_path):
    config = RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128)
    state = resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "w.pth")
    network = build_detector(config, 1, 0, tmp_path / "w.pth")
    body = network.retinanet.backbone.body
    assert torch.equal(body.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])
    trained = {name.split(".")[0] for name, parameter in body.named_parameters() if parameter.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert not any("bn" in name for name, _ in body.named_parameters())
    (tmp_path / "w.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"w\.pth does not hold the weights"):
        build_detector(config, 1, 0, tmp_path / "w.pth")
