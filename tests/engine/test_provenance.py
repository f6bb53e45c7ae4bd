"""Records of what made an artefact, and what is said when it is not that any more."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import yaml
from caching import cache_split
from run_workflow import ROOT

from mgral.artefacts import integrity
from mgral.artefacts.commit import commit
from mgral.artefacts.files import read_json, write_json
from mgral.cli.main import mgral
from mgral.config import load_config
from mgral.config.canvas import Canvas
from mgral.data.dataset import load_dataset
from mgral.data.images import load_images
from mgral.engine import provenance
from mgral.engine.steps import VERSIONS
from mgral.engine.verification import up_to_date
from mgral.errors import StepError


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment's folder, results/it below the working directory, with a data set of 12 images."""
    monkeypatch.chdir(tmp_path)
    integrity.warn.cache_clear()  # as in a process of its own
    folder = Path("results/it")
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(12)]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    write_json(folder / "dataset" / "train.json", coco)
    values = {"initial": 4, "budget": 4, "cycles": 1, "data": {"format": "synthetic", "train_images": 12}}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return folder


def draw_initial(folder, output="labelled.json"):
    arguments = [f"--config={folder}/config.yaml", f"--dataset={folder}/dataset/train.json", "--seed=0"]
    mgral(["initial", *arguments, f"--output={folder}/{output}"], standalone_mode=False)


def select(folder):
    arguments = [f"--config={folder}/config.yaml", f"--dataset={folder}/dataset/train.json", "--strategy=random"]
    arguments += [f"--labelled={folder}/labelled.json", "--seed=0", "--cycle=0", f"--output={folder}/selection.json"]
    mgral(["select", *arguments], standalone_mode=False)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_record_says_what_made_an_artefact(experiment):
    draw_initial(experiment)
    record = read_json(experiment / "provenance" / "labelled.json.json")
    assert record["step"] == "initial"
    assert record["sha256"] == sha256(experiment / "labelled.json")
    assert record["settings"] == {"initial": 4, "step_version": VERSIONS["initial"]}
    assert record["inputs"] == {"results/it/dataset/train.json": sha256(experiment / "dataset" / "train.json")}
    assert record["arguments"]["seed"] == 0
    assert record["packages"]["torch"] == metadata.version("torch")
    assert record["machine"]["python"] == sys.version.split()[0]
    assert record["commit"] == commit()


@pytest.mark.parametrize("given", ["0123abc", ""])
def test_the_commit_is_that_of_the_code_unless_it_is_given(monkeypatch, given):
    monkeypatch.setenv("MGRAL_COMMIT", given)
    head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], text=True, capture_output=True, check=False)
    expected = given or head.stdout.strip() or f"none (version {metadata.version('mgral')})"
    assert commit.__wrapped__().removesuffix("-dirty") == expected


def test_records_of_many_inputs_are_one_hash(experiment, monkeypatch):
    monkeypatch.setattr("mgral.engine.provenance.LISTED", 1)
    draw_initial(experiment)
    before = read_json(experiment / "provenance" / "labelled.json.json")["inputs"]
    assert list(before) == ["results/it/dataset: 1 files"]
    train = experiment / "dataset" / "train.json"
    train.write_text(train.read_text() + " ")
    draw_initial(experiment)
    assert read_json(experiment / "provenance" / "labelled.json.json")["inputs"] != before


@pytest.mark.parametrize("change", ["other", "same size"])
def test_an_altered_artefact_is_used_with_one_line(experiment, change, capsys):
    draw_initial(experiment)
    labelled = experiment / "labelled.json"
    text = labelled.read_text()
    first = json.loads(text)["images"][0]
    other = next(i for i in range(12) if i not in json.loads(text)["images"] and len(str(i)) == len(str(first)))
    images = [5, 6, 7, 8, 9] if change == "other" else [other, *json.loads(text)["images"][1:]]
    labelled.write_text(
        json.dumps({"images": images}) if change == "other" else text.replace(f" {first}", f" {other}", 1)
    )
    for _ in range(2):
        select(experiment)
    assert not set(read_json(experiment / "selection.json")["images"]) & set(images)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"mgral: warning: {labelled} was altered since step `initial` wrote it, and is used as it is; "
        "see: mgral verify results/it"
    )


def test_a_mapped_file_is_checked_and_a_large_one_by_its_size(experiment, monkeypatch, capsys):
    dataset = load_dataset(experiment / "dataset" / "train.json")
    cache = experiment / "dataset" / "train.npy"
    np.save(cache, np.zeros((12, 4, 4, 3), np.uint8))
    record = {"step": "cache", "sha256": "0" * 64, "bytes": cache.stat().st_size, "folder": "results/it"}
    unused = {"commit": "", "arguments": {}, "settings": {}, "inputs": {}}
    write_json(experiment / "provenance" / "dataset" / "train.npy.json", record | unused)
    monkeypatch.setattr(integrity, "LARGE", record["bytes"])
    load_images(cache, dataset, Canvas(4, 4))
    assert integrity.READ[cache] == "0" * 64
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(integrity, "LARGE", record["bytes"] + 1)
    load_images(cache, dataset, Canvas(4, 4))
    assert integrity.READ[cache] == sha256(cache)
    assert "train.npy was altered since step `cache` wrote it" in capsys.readouterr().err


def test_an_artefact_is_up_to_date_as_long_as_its_settings_and_all_it_is_made_of_are(experiment):
    config = load_config(experiment / "config.yaml")
    draw_initial(experiment)
    select(experiment)
    selection = experiment / "selection.json"
    assert up_to_date(selection, config)
    assert not up_to_date(selection, config.model_copy(update={"budget": 3}))
    # Read by the step before only.
    assert not up_to_date(selection, config.model_copy(update={"initial": 3}))
    (experiment / "labelled.json").unlink()
    assert not up_to_date(selection, config)
    values = yaml.safe_load((experiment / "config.yaml").read_text())
    (experiment / "config.yaml").write_text(yaml.safe_dump({**values, "initial": 5}))
    draw_initial(experiment)
    assert not up_to_date(selection, load_config(experiment / "config.yaml"))
    select(experiment)
    assert up_to_date(selection, load_config(experiment / "config.yaml"))
    assert up_to_date(experiment / "dataset" / "train.json", config)  # without a record, as files of the user


def test_a_damaged_record_stops_nothing(experiment):
    draw_initial(experiment)
    (experiment / "provenance" / "labelled.json.json").write_text("{")
    select(experiment)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "labelled.json"
    write_json(path, {"images": [1]})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StepError, match=r"labelled\.json cannot be written \(No space left on device\); free space"):
        write_json(path, {"images": [2]})
    assert read_json(path) == {"images": [1]}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".labelled.json.17.partial").write_text("[1,")
    (tmp_path / ".other.json.17.partial").write_text("[1,")
    write_json(tmp_path / "labelled.json", [1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.json.17.partial", "labelled.json"]


def test_a_full_disk_is_noticed_before_images_are_decoded(experiment, monkeypatch):
    def full(descriptor, offset, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    dataset = load_dataset(experiment / "dataset" / "train.json")
    with pytest.raises(StepError, match=r"train\.npy cannot be written \(No space left on device\)"):
        cache_split(dataset, experiment, Canvas(4, 4), experiment / "dataset" / "train.npy")
    assert [path.name for path in (experiment / "dataset").iterdir()] == ["train.json"]


def test_a_folder_that_cannot_be_made_is_named(experiment):
    (experiment / "seed0").write_text("a file where a folder should be")
    arguments = [f"--config={experiment}/config.yaml", f"--dataset={experiment}/dataset/train.json", "--seed=0"]
    command = [sys.executable, "-m", "mgral", "initial", *arguments, f"--output={experiment}/seed0/labelled.json"]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert "results/it/seed0/labelled.json cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    known = provenance.packages()
    monkeypatch.setattr(provenance, "installed_version", lambda name: known[name] if name != "dvc" else None)
    assert provenance.packages.__wrapped__() == {name: found for name, found in known.items() if name != "dvc"}
