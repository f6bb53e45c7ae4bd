"""The example of a detector that is a command, through a whole experiment."""

import json
import shlex
import shutil
import sys

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from run_workflow import ROOT, TINY, snakemake
from slow import slow

from mgral.artefacts.integrity import file_hash
from mgral.cli.main import mgral
from mgral.config import load_config

EXAMPLE = ROOT / "examples" / "external_detector" / "detect.py"
GIVEN = "cp {train} {output}/given_train.json; cp {pool} {output}/given_pool.json; cp {test} {output}/given_test.json"
COMMAND = f"{shlex.join([sys.executable, str(EXAMPLE)])} --train {{train}} --pool {{pool}} --test {{test}}"
STRATEGIES = ("random", "entropy_sum", "core_set", "mgral")


def read(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The results of an experiment of one cycle; the command keeps what it was given."""
    folder = tmp_path_factory.mktemp("external")
    values = yaml.safe_load(TINY.read_text())
    detector = {
        "name": "external",
        "command": f"{COMMAND} --output {{output}}\n{GIVEN}",
        "gives": ["probabilities", "features"],
        "proxy": {"name": "small_ssd", **values["detector"]},
    }
    smaller = {"cycles": 1, "data": {"format": "synthetic", "train_images": 16, "test_images": 4}}
    values |= smaller | {"detector": detector, "strategies": list(STRATEGIES)}
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    done = snakemake(folder, "--cores", "2", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stdout
    return folder / "results" / "tiny"


ROUNDS = ["initial/cycle0", "full/cycle0", *(f"strategies/{name}/cycle1" for name in STRATEGIES)]


@slow
@pytest.mark.timeout(900)
def test_the_command_detects_in_every_round_and_no_table_needs_its_proxys_pseudo_labels(results):
    made = {name: sorted(results.rglob(name)) for name in ("external.safetensors", "detector.safetensors")}
    places = {
        name: {str(path.parent.relative_to(results / "seed0")) for path in paths} for name, paths in made.items()
    }
    assert {place for place in places["external.safetensors"] if "provenance" not in place} == set(ROUNDS)
    assert places["detector.safetensors"] == set()
    assert (results / "report.html").read_text().count("Lookup tables are made with its proxy small_ssd") == 1
    for place in ROUNDS:
        scored, written = read(results / "seed0" / place / "detections.json"), results / "external" / "seed0" / place
        assert sorted(one["score"] for one in scored) == pytest.approx(
            sorted(one["score"] for one in read(written / "output" / "test.json")), abs=1e-5
        )
        assert sorted(path.name for path in written.iterdir()) == ["command.log", "lock", "output"]


@slow
@pytest.mark.timeout(900)
def test_no_box_of_the_pool_or_the_test_images_reaches_the_command(results):
    train, test = (read(results / "dataset" / f"{split}.json") for split in ("train", "test"))
    for place in ROUNDS:
        labelled = set(read(results / "seed0" / place / "labelled.json")["images"])
        output = results / "external" / "seed0" / place / "output"
        given = {name: read(output / f"given_{name}.json") for name in ("train", "pool", "test")}
        assert given["train"]["annotations"] == [box for box in train["annotations"] if box["image_id"] in labelled]
        assert {image["id"] for image in given["train"]["images"]} == labelled
        assert {image["id"] for image in given["pool"]["images"]} == {i["id"] for i in train["images"]} - labelled
        assert {image["id"] for image in given["test"]["images"]} == {image["id"] for image in test["images"]}
        for name in ("pool", "test"):
            assert given[name]["annotations"] == []
            images = given[name]["images"]
            assert all(set(image) == {"id", "file_name", "width", "height"} for image in images)


@slow
@pytest.mark.timeout(900)
def test_strategies_choose_by_what_the_command_found(results):
    """The sum of the entropies of an image's boxes, by their own sure class."""
    output = results / "external" / "seed0" / "initial" / "cycle0" / "output"
    classes = [category["id"] for category in read(output / "given_pool.json")["categories"]]
    sums = {image["id"]: 0.0 for image in read(output / "given_pool.json")["images"]}
    for found in read(output / "pool.json"):
        shares = np.array(found["probabilities"])
        if found["score"] > 0.05 and classes[shares[1:].argmax()] == found["category_id"]:
            sums[found["image_id"]] -= float((shares * np.log(shares.clip(1e-12))).sum())
    chosen = read(results / "seed0" / "strategies" / "entropy_sum" / "cycle0" / "selection.json")
    best = sorted(sums, key=lambda image: (-sums[image], image))[:4]
    assert chosen["images"] == best
    assert chosen["scores"] == pytest.approx([sums[image] for image in best], rel=1e-5)
    record = read(results / "provenance/seed0/initial/cycle0/embeddings/default.safetensors.json")
    assert "results/tiny/seed0/initial/cycle0/external.safetensors" in record["inputs"]
    assert "results/tiny/seed0/initial/cycle0/detector.safetensors" not in record["inputs"]


@slow
@pytest.mark.timeout(900)
def test_the_record_names_the_command_its_exit_code_and_the_hashes_of_its_files(results):
    record = read(results / "provenance" / "seed0" / "initial" / "cycle0" / "external.safetensors.json")
    place = "results/tiny/external/seed0/initial/cycle0"
    assert record["exit_code"] == 0
    assert record["command"].startswith("sh -e -c ")
    assert f"{place}/output/test.json" not in record["command"]
    assert f"{place}/inputs/train.json" in record["command"]
    for name in ("train.json", "pool.json", "test.json", "features.npz"):
        raw = results / "external" / "seed0" / "initial" / "cycle0" / "output" / name
        assert record["inputs"][f"{place}/output/{name}"] == file_hash(raw)


@slow
@pytest.mark.timeout(900)
def test_the_same_again_is_the_same_bytes(results, tmp_path, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    again = tmp_path / "again.safetensors"
    first = results / "seed0" / "initial" / "cycle0"
    shutil.copytree(results / "dataset", tmp_path / "dataset")
    options = {
        "config": results / "config.yaml",
        "dataset": tmp_path / "dataset" / "train.json",
        "test-dataset": tmp_path / "dataset" / "test.json",
        "root": results / "dataset" / "synthetic",
        "labelled": first / "labelled.json",
        "seed": 0,
        "cycle": 0,
        "folder": tmp_path / "work",
        "output": again,
    }
    done = CliRunner().invoke(mgral, ["external", *(f"--{name}={value}" for name, value in options.items())])
    assert done.exit_code == 0, done.output
    assert again.read_bytes() == (first / "external.safetensors").read_bytes()
    assert load_config(results / "config.yaml").detector.proxy.channels == 8
