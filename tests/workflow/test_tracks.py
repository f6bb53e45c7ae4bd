"""The paper's two tracks as config/ has them, from the download to the report: the real detectors at full size.

The archives are miniatures, the backbones' weights random, the trainings a few iterations long, and all comes from a
server on the loopback.
"""

import hashlib
import json
import os
import sys

import pytest
import torch
import yaml
from loopback import serve
from miniature import write_coco_archives, write_voc_archives
from run_workflow import ROOT, snakemake
from safetensors.torch import load_file
from torchvision.models import resnet50, vgg16

pytestmark = [
    pytest.mark.skipif("MGRAL_TRACKS" not in os.environ, reason="takes minutes: make tracks runs this test"),
    pytest.mark.timeout(1800),
]

PROGRAM = """#!{python}
# `mgral`, but that it downloads the miniature archives and the random weights: their checksums and numbers of images.
import sys
from pathlib import Path

sys.path[:0] = [{tests!r}, {support!r}]
from test_download import miniature_of
from mgral.data.download import archives
from mgral.data.download.archives import Checksum, Published
from mgral.models import weights

if sys.argv[1] == "download":
    archives.DATA_SETS[{data!r}] = miniature_of({data!r}, Path({served!r}))
checksum = Checksum("sha256", {digits!r})
weights.torchvision_weights = lambda config: Published("https://host.invalid/weights.pth", checksum)

from mgral.cli.main import main

main()
"""

SHORT = {
    "seeds": [0],
    "strategies": ["mgral", "entropy_anchors"],
    "cycles": 1,
    "initial": 4,
    "budget": 2,
    "training": {"batch_size": 1, "accumulate": 1},
    "iterations": {"detector": 1, "growth": 0.0, "base": 1, "variant": 1},
    "semi_supervised": {"batch_size": 1},
    "embedding": {"dimensions": 4},
    "lut": {"variants": 2, "variants_per_job": 3, "clusters": 2, "reward_fraction": 0.5},
    "agent": {"episodes": 2, "samples": 2},
}
"""What is other than on the real track."""


def classifier(track: str) -> dict[str, torch.Tensor]:
    """A state dict with the names and sizes of the one that is published."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if track == "coco_retinanet":
            return resnet50(weights=None).state_dict()
        # The published file has the fully connected layers, too, half a gigabyte that nobody reads.
        features = vgg16(weights=None).features.state_dict()
    return {f"features.{name}": tensor for name, tensor in features.items()}


@pytest.fixture(scope="module", params=["voc_ssd300", "coco_retinanet"])
def track(request, tmp_path_factory):
    """Name of a track, and the folder in which it has been run."""
    name, served = request.param, tmp_path_factory.mktemp("served")
    (write_voc_archives if name == "voc_ssd300" else write_coco_archives)(served)
    torch.save(classifier(name), served / "weights.pth")
    digest = hashlib.sha256((served / "weights.pth").read_bytes()).hexdigest()
    folder, programs = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp("programs")
    config = yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text())
    with serve(served) as server:
        config["data"]["mirror"] = server.url
        changed = {
            key: {**config.get(key, {}), **value} if isinstance(value, dict) else value
            for key, value in SHORT.items()
        }
        config |= changed
        (folder / "track.yaml").write_text(json.dumps(config))
        program = programs / "mgral"
        program.write_text(
            PROGRAM.format(
                python=sys.executable,
                tests=str(ROOT / "tests" / "data"),
                support=str(ROOT / "tests" / "support"),
                data=config["data"]["download"],
                served=str(served),
                digits=digest[:8],
            )
        )
        program.chmod(0o755)
        done = snakemake(folder, "--cores", "2", "--configfile", folder / "track.yaml", stub=programs)
    assert done.returncode == 0, done.stdout
    return name, folder


def test_from_download_to_report(track):
    name, folder = track
    results = folder / "results" / name
    assert "labelled images" in (results / "report.html").read_text()
    scored = {str(path.parent.relative_to(results)) for path in results.rglob("metrics.json")}
    assert scored == {
        "seed0/initial/cycle0",
        "seed0/full/cycle0",
        "seed0/strategies/mgral/cycle1",
        "seed0/strategies/entropy_anchors/cycle1",
    }
    for path in results.rglob("metrics.json"):
        metrics = json.loads(path.read_text())
        assert metrics["images"] == 6
        assert ("ap50_11point" in metrics) == (name == "voc_ssd300")
    assert len(json.loads((results / "seed0/strategies/mgral/cycle1/labelled.json").read_text())["images"]) == 6


def test_the_backbone_starts_from_the_published_weights(track):
    name, folder = track
    results = folder / "results" / name
    # A layer that stays as it is, of the stages that `trainable_layers` leaves frozen.
    theirs = "features.0.weight" if name == "voc_ssd300" else "conv1.weight"
    own = "ssd.backbone.features.0.weight" if name == "voc_ssd300" else "retinanet.backbone.body.conv1.weight"
    for file in ("weights.safetensors", "seed0/full/cycle0/detector.safetensors"):
        assert torch.equal(load_file(results / file)[own], classifier(name)[theirs])
