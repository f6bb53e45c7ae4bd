"""The step `gain`."""

import json

import numpy as np
import pytest
from squares import write_experiment

from mgral.artefacts.files import read_json, write_json
from mgral.cli.main import mgral
from mgral.errors import InputError
from mgral.method.fidelity import gains as gains_module


@pytest.fixture
def experiment(tmp_path):
    """Squares, four labelled; they are the test images too."""
    write_experiment(tmp_path)
    ids = read_json(tmp_path / "train.json")["images"]
    ids = [image["id"] for image in ids]
    write_json(tmp_path / "labelled.json", {"images": ids[:4]})
    batches = [[], ids[4:8], ids[8:12]]
    drawn = [{"batch": k, "source": "random", "images": images} for k, images in enumerate(batches)]
    write_json(tmp_path / "candidates.json", {"batches": drawn})
    config = json.loads((tmp_path / "config.yaml").read_text())
    config |= {"initial": 4, "iterations": {"detector": 12, "growth": 1.0}, "fidelity": {"repeats": 2}}
    write_json(tmp_path / "config.yaml", config | {"evaluation": {"score_threshold": 0.0}})
    return tmp_path


def gains(folder, first, last, seed=0):
    files = {
        "config": "config.yaml",
        "dataset": "train.json",
        "images": "train.npy",
        "labelled": "labelled.json",
        "candidates": "candidates.json",
        "test-dataset": "train.json",
        "test-images": "train.npy",
        "output": "gains.json",
    }
    options = [text for name, file in files.items() for text in (f"--{name}", str(folder / file))]
    numbers = ["--first", str(first), "--last", str(last), "--seed", str(seed), "--cycle", "1"]
    mgral(["gain", *options, *numbers], standalone_mode=False)
    return read_json(folder / "gains.json")["gains"]


def test_each_batch_is_tried_several_times_and_whatever_job_it_is_in(experiment, monkeypatch):
    trained = []

    def note(detector, labelled, config, iterations, *_, **__):
        trained.append((labelled.image_ids.tolist(), iterations, next(detector.parameters()).sum().item()))
        return train(detector, labelled, config, iterations, *_, **__)

    train = gains_module.train_detector
    monkeypatch.setattr(gains_module, "train_detector", note)
    together = gains(experiment, 0, 2)
    assert [one["batch"] for one in together] == [0, 1, 2]
    assert all(len(one["map"]) == 2 for one in together)
    labelled = read_json(experiment / "labelled.json")["images"]
    added = [set(ids) - set(labelled) for ids, _, _ in trained]
    assert [len(ids) for ids in added] == [0, 0, 4, 4, 4, 4]
    assert added[2] == added[3] != added[4]
    # The iterations follow the labelled images, and repeats start from other weights, the same for each batch.
    assert [iterations for _, iterations, _ in trained] == [12, 12, 24, 24, 24, 24]
    starts = [start for _, _, start in trained]
    assert starts[0] != starts[1]
    assert starts[:2] == starts[2:4] == starts[4:]
    assert np.ptp([score for one in together for score in one["map"]]) > 0
    assert gains(experiment, 2, 2) == together[2:]


def test_batches_that_there_are_not_are_an_error(experiment):
    with pytest.raises(InputError, match="has no batches 2 to 3; give --first and --last from 0 to 2"):
        gains(experiment, 2, 3)
