"""The step `weights`: published files, from a server on the loopback, packaged ones and a user's own."""

import hashlib
import json
from types import SimpleNamespace

import pytest
import timm
import torch
from click.testing import CliRunner
from loopback import corrupt, serve
from safetensors.torch import load_file
from torchvision.models import get_weight

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.config import Config, resolve_config
from mgral.engine.needs import check_files
from mgral.errors import InputError
from mgral.models import weights
from mgral.models.build import random_detector, save_detector
from mgral.models.detectors.small_ssd import SmallSSDConfig
from mgral.models.weights import torchvision_weights

DATASET = {
    "images": [{"id": 1, "file_name": "1.png", "width": 8, "height": 8}],
    "annotations": [],
    "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
}


def run(folder, values, *, data=None):
    """Run the step for two classes in a folder."""
    write_json(folder / "config.yaml", {"detector": values, **({"data": data} if data else {})})
    write_json(folder / "train.json", DATASET)
    arguments = ["--config", "config.yaml", "--dataset", "train.json", "--output", "weights.safetensors"]
    arguments = [one if one.startswith("--") else str(folder / one) for one in arguments]
    return CliRunner().invoke(mgral, ["weights", *arguments])


@pytest.mark.parametrize("name", ["ssd300_vgg16", "retinanet_resnet50_fpn"])
def test_they_are_where_torchvision_says_with_the_digits_in_their_name(name):
    config = resolve_config({"detector": {"name": name}}).detector
    file = torchvision_weights(config)
    assert file.url == get_weight(config.weights).url
    assert file.checksum.algorithm == "sha256"
    assert file.name.endswith(f"-{file.checksum.digits}.pth")


def test_the_small_detector_needs_none(tmp_path):
    assert Config().detector.weights is None
    assert "small_ssd starts from random weights; leave this step out" in str(run(tmp_path, {}).exception)


def test_the_packaged_ones_need_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "fetch", None)
    result = run(tmp_path, {"name": "ssd", "width": 64, "height": 64})
    assert result.exit_code == 0, result.exception
    assert "loaded 240 of " in result.stderr
    assert len(load_file(tmp_path / "weights.safetensors")) == 240


@pytest.mark.parametrize("faults", [0, 1, 2])
def test_a_downloaded_file_is_checked_and_put_under_the_detectors_names(tmp_path, monkeypatch, faults):
    (tmp_path / "served").mkdir()
    state = timm.create_model("mobilenetv3_small_050", pretrained=False).state_dict()
    torch.save(state, tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    name = f"mobilenet-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / "served" / name).write_bytes(content)
    published = SimpleNamespace(url=f"https://host.invalid/{name}", hf_hub_id="timm/x")
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda _: published)
    with serve(tmp_path / "served") as server:
        server.faults = [corrupt] * faults
        data = {"format": "voc", "root": "x", "mirror": server.url}
        values = {"name": "retinanet", "backbone": "mobilenetv3_small_050", "width": 64, "height": 64}
        result = run(tmp_path, values, data=data)
    if faults == 2:
        assert isinstance(result.exception, InputError)
        assert f"what arrived, twice, is not the published {name}" in str(result.exception)
        assert not (tmp_path / "weights.safetensors").exists()
        return
    assert result.exit_code == 0, result.exception
    found = load_file(tmp_path / "weights.safetensors")
    assert torch.equal(found["retinanet.backbone.body.stages.0.conv_stem.weight"], state["conv_stem.weight"])
    assert not list(tmp_path.glob("mobilenet*"))


def test_timms_own_come_from_where_their_checksum_is_known(tmp_path, monkeypatch):
    """With digits of it in the name; else from the hub, which announces it, and then from no mirror."""
    assert weights._timm_weights("resnet18", "http://mirror").name == "resnet18_a1_0-d63eafa0.pth"
    with pytest.raises(InputError, match=r"download https://huggingface\.co/timm/convnext_tiny\..* yourself"):
        weights._timm_weights("convnext_tiny", "http://mirror")
    digits = hashlib.sha256(b"x").hexdigest()
    headers = {"X-Linked-Etag": f'"{digits}"'}
    reply = SimpleNamespace(headers=headers, raise_for_status=lambda: None)
    monkeypatch.setattr("requests.head", lambda url, **_: reply)
    file = weights._timm_weights("convnext_tiny", None)
    assert (file.name, file.checksum) == ("model.safetensors", ("sha256", digits))
    headers.clear()
    with pytest.raises(InputError, match="names no checksum, so it cannot be verified"):
        weights._timm_weights("convnext_tiny", None)


def test_published_weights_that_lack_some_of_the_backbone_are_refused(tmp_path, monkeypatch):
    state = {"conv_stem.weight": torch.zeros(16, 3, 3, 3)}
    monkeypatch.setattr("mgral.cli.steps.weights.obtain_weights", lambda *_: state)
    result = run(tmp_path, {"name": "ssd", "backbone": "mobilenetv3_small_100", "width": 64, "height": 64})
    assert "imagenet lacks" in str(result.exception)
    assert "of the backbone (stages.0.bn1.weight" in str(result.exception)


def test_a_file_of_ones_own_is_an_input_and_a_note_says_what_was_taken(tmp_path):
    save_detector(
        random_detector(SmallSSDConfig(width=64, height=64, channels=8), 6, 0), tmp_path / "mine.safetensors"
    )
    result = run(tmp_path, {"width": 64, "height": 64, "channels": 8, "weights": str(tmp_path / "mine.safetensors")})
    assert result.exit_code == 0, result.exception
    assert result.stderr.startswith("note: loaded ")
    assert "starts anew: ssd.head.classification_head: other shape (8)" in result.stderr
    record = json.loads((tmp_path / "provenance" / "weights.safetensors.json").read_text())
    assert any(path.endswith("mine.safetensors") for path in record["inputs"])


def test_a_missing_file_is_refused_before_the_first_job_with_what_else_is_missing():
    values = {"data": {"format": "coco", "root": "nowhere"}, "detector": {"weights": "none/mine.pth"}}
    with pytest.raises(InputError) as raised:
        check_files(resolve_config(values))
    first, second = str(raised.value).splitlines()
    assert first.startswith("data: there is no folder nowhere; ")
    assert second.startswith("detector.weights: there is no file none/mine.pth; correct it")
