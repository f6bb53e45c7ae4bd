"""The registry of detectors: a plug-in in one file is a detector as any other, and a faulty one is named."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from caching import cache_split
from installing import install
from PIL import Image
from run_workflow import ROOT

from mgral.config import TrainingConfig, config_schema, config_yaml, detectors, registry, resolve_config
from mgral.data.dataset import Category, Dataset
from mgral.data.images import load_images
from mgral.engine.memory import card_memory_mb
from mgral.errors import InputError
from mgral.models.build import build_detector
from mgral.training.batches import training_images
from mgral.training.loop import train_detector

SIZE = 64
PLUG_IN = (ROOT / "tests" / "support" / "mgral_squares.py").read_text()
REGISTERS = """
from typing import Literal
from mgral.config.detector import DetectorConfig
from mgral.config.detectors import register_detector

@register_detector
class Section(DetectorConfig):
    name: {}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a module as a plug-in."""
    detectors.detectors()
    monkeypatch.setattr(detectors, "_sections", dict(detectors._sections))
    monkeypatch.syspath_prepend(tmp_path)
    detectors._import_all.cache_clear()
    detectors.entry_points.cache_clear()
    modules = []

    def install_detector(name: str, code: str, entry: str, module: str = "") -> None:
        install(tmp_path, name, code, "mgral.detectors", f"{entry} = {module or name}")
        modules.append(name)

    yield install_detector
    for name in modules:
        sys.modules.pop(name, None)
    detectors._import_all.cache_clear()
    detectors.entry_points.cache_clear()


def test_a_configuration_is_read_without_torch(tmp_path):
    (tmp_path / "config.yaml").write_text("detector: {name: ssd300_vgg16}\n")
    code = (
        "import sys, pathlib; from mgral.config import load_config; from mgral.engine.memory import card_memory_mb\n"
        "config = load_config(pathlib.Path(sys.argv[1])); card_memory_mb(config, 'detector')\n"
        "assert config.detector.weights == 'VGG16_Weights.IMAGENET1K_FEATURES'\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "config.yaml")], check=False)
    assert done.returncode == 0


def test_packages_of_other_detectors_are_not_imported(tmp_path):
    """By `mgral config` no torch either; by a detector none but its own."""
    code = (
        "import sys; from mgral.cli.main import main\n"
        "sys.argv[1:] = ['config', '--configfile', sys.argv[1], '--output', sys.argv[2]]\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code\n"
        "assert not {'timm', 'transformers', 'torch', 'torchvision'} & set(sys.modules)\n"
        "from mgral.config import resolve_config; from mgral.models.build import random_detector\n"
        "random_detector(resolve_config({}).detector, 1, 0)\n"
        "assert not {'timm', 'transformers'} & set(sys.modules)\n"
        "from mgral.models import torchvision_detector\n"
        "assert not {'timm', 'transformers'} & set(sys.modules)\n"
    )
    paths = [str(ROOT / "params.yaml"), str(tmp_path / "config.yaml")]
    done = subprocess.run([sys.executable, "-c", code, *paths], check=False)
    assert done.returncode == 0


def test_a_plug_in_is_a_detector_as_any_other(installed, tmp_path):
    installed("mgral_squares_of_a_test", PLUG_IN, "squares")
    config = resolve_config({"detector": {"name": "squares", "side": SIZE}})
    section = config.detector
    assert (section.caches_files, section.weights, section.process_mb) == (False, None, 1000)
    assert yaml.safe_load(config_yaml(config))["detector"] == {"name": "squares", "weights": None, "side": SIZE}
    assert card_memory_mb(config, "evaluate") == pytest.approx(1500 + 32 * SIZE**2 * 4 * 27 / 2**20, abs=1)
    assert config_schema()["properties"]["detector"]["oneOf"][-1]["properties"]["side"]["default"] == 64
    assert registry.plug_ins()["mgral_squares_of_a_test"] == "1.0"

    (tmp_path / "set").mkdir()
    Image.new("RGB", (2 * SIZE, SIZE), "white").save(tmp_path / "set" / "wide.png")
    box = np.array([[8, 8, 40, 40]], np.float32)
    dataset = Dataset(
        np.arange(1), ("wide.png",), np.array([[2 * SIZE, SIZE]]), (Category(0, "a"),), (box,), (np.zeros(1, int),)
    )
    cache_split(dataset, tmp_path / "set", section.image_canvas, tmp_path / "images.npy")
    images = load_images(tmp_path / "images.npy", dataset, section.image_canvas)
    assert (images.stored[0, : SIZE // 2] == 255).all()
    assert not (images.stored[0, SIZE // 2 :] == 255).any()  # the aspect ratio is kept: the rest is grey

    detector = build_detector(section, 1, seed=0)
    assert type(detector).__module__ == "mgral_squares_of_a_test"
    before = [parameter.detach().clone() for parameter in detector.parameters()]
    labelled = training_images(dataset, images, dataset.image_ids)
    (row,) = train_detector(detector, labelled, TrainingConfig(batch_size=1), 1, 0, "detector")
    assert row["loss"] > 0
    assert any(not torch.equal(old, new) for old, new in zip(before, detector.parameters(), strict=True))


@pytest.mark.parametrize(
    ("code", "entry", "module", "message"),
    [
        ("", "mine", "", r"plug-in faulty: it registers no detector mine; correct the entry point mgral\.detectors"),
        ("", "mine", "no_such", r"plug-in no_such: No module named 'no_such'; install its package again"),
        (
            REGISTERS.format("Literal['small_ssd']"),
            "small_ssd",
            "",
            r"detector small_ssd: mgral\.models\.detectors\.small_ssd and faulty have it; rename one",
        ),
    ],
)
def test_a_faulty_plug_in_is_named(installed, code, entry, module, message):
    installed("faulty", code, entry, module)
    with pytest.raises(InputError, match=message):
        detectors.detectors()
    assert "small_ssd" in detectors._sections


def test_a_section_has_one_name(installed):
    installed("faulty", REGISTERS.format("str"), "mine")
    with pytest.raises(ValueError, match="detector Section: its name must be a Literal of one text"):
        detectors.detectors()


def test_all_faults_are_reported_at_once_by_their_place():
    with pytest.raises(InputError) as raised:
        resolve_config({"cycles": 0, "detector": {"name": "retinanet_resnet50_fpn", "canvas": 100, "depth": 1}})
    lines = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == ["cycles", "detector.canvas", "detector.depth"]


@pytest.mark.parametrize("name", ["yolo", 5, None, ["small_ssd"]])
def test_a_wrong_name_says_which_there_are(name):
    message = rf"detector\.name: there is no detector .*; choose from {', '.join(detectors.detectors())}"
    with pytest.raises(InputError, match=message):
        resolve_config({"detector": {"name": name}})


def test_the_schema_describes_every_detector():
    schema = config_schema()
    places = schema["properties"]["detector"]["oneOf"]
    sections = [schema["$defs"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in places]
    assert [section["properties"]["name"]["const"] for section in sections] == list(detectors.detectors())
    for section in sections:
        assert not section["additionalProperties"]
        assert all("description" in field for name, field in section["properties"].items() if name != "name")


@pytest.mark.parametrize(
    ("detector", "told"),
    [
        (
            {"name": "ssd", "width": 64, "strides": [4, 8, 17], "anchor_scales": [0.2, 0.1]},
            ["detector: set width and height", "detector.strides: ", "3 maps need 4 sizes", "must grow"],
        ),
        (
            {"name": "torchvision", "model": "fcos_resnet50_fpn", "weights": "foo", "trainable_layers": 6},
            ["detector.weights: 'foo' is neither", "detector.trainable_layers: "],
        ),
    ],
)
def test_settings_that_do_not_go_together_are_told_in_one_pass(detector, told):
    with pytest.raises(InputError) as raised:
        resolve_config({"detector": detector})
    assert [part for part in told if part not in str(raised.value)] == []
