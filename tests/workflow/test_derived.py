"""An experiment on data of one's own without `detector`: what is derived reaches every step that needs it."""

import json

import pytest
import yaml
from run_workflow import jobs_planned, planned, snakemake

from mgral.config import SyntheticData, resolve_config
from mgral.data.dataset import load_dataset
from mgral.data.derive import derive_settings
from mgral.data.images import load_images
from mgral.data.synthetic import write_synthetic
from mgral.selection.pool import load_labelled

CONFIG = {
    "experiment": "own",
    "seeds": [0],
    "strategies": ["mgral", "random", "entropy_anchors"],
    "cycles": 1,
    "initial": 6,
    "budget": 4,
    "data": {"format": "coco", "root": "set"},
    "training": {"batch_size": 4},
    "iterations": {"detector": 2},
    "lut": {"splits": 1, "variants": 2},
    "fidelity": {"tables": "all"},  # also those that need pseudo-labels
}
RESULTS = "results/own"
READ_SETTINGS = {"cache", "detector", "evaluate", "embed", "pseudo_labels", "base", "variant", "select"}
READ_SETTINGS |= {"candidates", "gain"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """A folder in which the first detector is trained and evaluated, on 16 images of 128 x 128 pixels."""
    folder = tmp_path_factory.mktemp("derived")
    write_synthetic(SyntheticData(train_images=16, test_images=4), folder / "set")
    (folder / "own.yaml").write_text(yaml.safe_dump(CONFIG))
    metrics = f"{RESULTS}/seed0/initial/cycle0/metrics.json"
    done = snakemake(folder, metrics, "--cores", "1", "--configfile", "own.yaml")
    assert done.returncode == 0, done.stdout
    return folder


def test_a_configuration_without_detector_trains_and_evaluates_with_what_is_derived(evaluated):
    results = evaluated / RESULTS
    train, test = (load_dataset(results / "dataset" / f"{split}.json") for split in ("train", "test"))
    labelled = load_labelled(results / "seed0" / "initial" / "cycle0" / "labelled.json")
    detector = derive_settings(resolve_config({**CONFIG, "seeds": (0,)}), train, test, labelled).detector
    found = json.loads((results / "seed0" / "derived.json").read_text())
    assert found["detector"] == {
        "width": 128,
        "height": 128,
        "anchor_scales": list(detector.anchor_scales),
        "aspect_ratios": list(detector.aspect_ratios),
    }
    assert found["iterations"] == {"detector": 150, "base": 75, "variant": 22}
    assert load_images(results / "dataset" / "train.npy", train, detector.image_canvas).image(0).shape == (
        128,
        128,
        3,
    )
    assert len((results / "seed0" / "initial" / "cycle0" / "training.csv").read_text().splitlines()) == 3
    record = json.loads((results / "provenance" / "seed0/initial/cycle0/detector.safetensors.json").read_text())
    assert f"{RESULTS}/seed0/derived.json" in record["inputs"]
    log = (results / "logs" / "derive" / "seed0.log").read_text()
    assert "input size: 128 x 128 pixels (derived; the median training image is 128 x 128)" in log
    assert "iterations: detector 2 (set), base 75 (derived)" in log


def test_every_job_that_reads_a_detectors_settings_has_those_derived(evaluated):
    jobs = jobs_planned(evaluated, "all", "fidelity", "--forceall", "--configfile", "own.yaml")
    having = {job.rule for job in jobs if "--derived" in job.command}
    assert having == {"derive", *READ_SETTINGS}
    for job in jobs:
        asked = job.rule in READ_SETTINGS and job.wildcards.get("strategy") not in ("mgral", "random")
        files = [path for path in job.inputs if path.endswith(("/derived.json", "/input_size.json"))]
        assert len(files) == (asked or job.rule in ("derive", "report"))


def test_a_length_that_is_set_runs_only_what_reads_it_again(evaluated):
    metrics = f"{RESULTS}/seed0/initial/cycle0/metrics.json"
    run = (metrics, "--configfile", "own.yaml", "--config")
    assert {rule for rule, _ in planned(evaluated, *run, "iterations={variant: 3}")} == set()
    assert {rule for rule, _ in planned(evaluated, *run, "iterations={detector: 3}")} == {"detector", "evaluate"}
