"""The step `weights`: torchvision's own files, from a server on the loopback."""

import hashlib
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from loopback import corrupt, serve
from torchvision.models import get_weight

from mgral.cli.main import mgral
from mgral.config import Config
from mgral.models.weights import published_weights

CONTENT = bytes(range(256)) * 40
NAME = f"vgg16_features-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.mark.parametrize("name", ["VGG16_Weights.IMAGENET1K_FEATURES", "ResNet50_Weights.IMAGENET1K_V1"])
def test_they_are_where_torchvision_says_with_the_digits_in_their_name(name):
    file = published_weights(name)
    assert file.url == get_weight(name).url
    assert file.checksum.algorithm == "sha256"
    assert file.name.endswith(f"-{file.checksum.digits}.pth")


def test_the_small_detector_needs_none(tmp_path):
    assert Config().detector.backbone_weights is None
    config = tmp_path / "config.yaml"
    config.write_text("experiment: x\n")
    result = CliRunner().invoke(mgral, ["weights", "--config", str(config), "--output", str(tmp_path / "x.pth")])
    assert "small_ssd starts from random weights; leave this step out" in str(result.exception)


@pytest.mark.parametrize("faults", [[], [corrupt]])
def test_the_file_is_written_unchanged(tmp_path, monkeypatch, faults):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / NAME).write_bytes(CONTENT)
    config = tmp_path / "config.yaml"
    url = f"https://host.invalid/models/{NAME}"
    monkeypatch.setattr("mgral.models.weights.get_weight", lambda _: SimpleNamespace(url=url))
    with serve(tmp_path / "served") as server:
        server.faults = faults
        config.write_text(
            f"data: {{format: voc, root: x, mirror: '{server.url}'}}\ndetector: {{name: ssd300_vgg16}}\n"
        )
        arguments = ["weights", "--config", str(config), "--output", str(tmp_path / "weights.pth")]
        result = CliRunner().invoke(mgral, arguments)
    assert result.exit_code == 0, result.exception
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    record = tmp_path / "provenance" / "weights.pth.json"
    assert hashlib.sha256(CONTENT).hexdigest() in record.read_text()
