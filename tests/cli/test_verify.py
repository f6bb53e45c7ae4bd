"""Command `verify`: what is not as its step wrote it, and what made it."""

import json
import os
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from mgral.artefacts.files import write_json
from mgral.artefacts.integrity import RECORDED
from mgral.cli.main import mgral
from mgral.errors import InputError, StepError

FOLDER = Path("results/it")


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment in the working directory: an initial set of 12 images, and a batch chosen of the rest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mgral.engine.provenance.commit", lambda: "0123abc")
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in range(12)]
    coco = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    write_json(Path("labels.json"), coco)
    values = {"initial": 4, "budget": 4, "cycles": 1, "data": {"format": "synthetic", "train_images": 12}}
    FOLDER.mkdir(parents=True)
    (FOLDER / "config.yaml").write_text(yaml.safe_dump(values))
    of = [f"--config={FOLDER}/config.yaml", "--dataset=labels.json", "--seed=0"]
    step("initial", *of, f"--output={FOLDER}/seed0/labelled.json")
    chosen = ["--strategy=random", "--cycle=0", f"--labelled={FOLDER}/seed0/labelled.json"]
    step("select", *of, *chosen, f"--output={FOLDER}/seed0/selection.json")
    return values


def step(*arguments):
    mgral(list(arguments), standalone_mode=False)


def verified(*options, folder=FOLDER):
    return CliRunner().invoke(mgral, ["verify", str(folder), *options])


@pytest.mark.usefixtures("experiment")
def test_all_is_well_wherever_the_folder_is(tmp_path):
    done = verified()
    assert (done.exit_code, done.stdout) == (0, "2 artefacts of results/it are as their steps wrote them\n")
    assert json.loads(verified("--json").stdout) == []
    shutil.move(FOLDER, tmp_path / "moved")
    assert verified(folder=tmp_path / "moved").exit_code == 0
    (tmp_path / "moved/seed0/labelled.json").write_text("")
    assert "selection.json\n  was made from other content" in verified(folder=tmp_path / "moved").stdout


@pytest.mark.usefixtures("experiment")
def test_an_altered_artefact_and_what_was_made_of_it_are_named_with_their_makers():
    labelled = FOLDER / "seed0" / "labelled.json"
    status, content = labelled.stat(), labelled.read_bytes()
    labelled.write_bytes(content.replace(b"\n", b" ", 1))  # of the same size, and of the same time
    os.utime(labelled, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = verified()
    assert isinstance(done.exception, StepError)
    assert str(done.exception).startswith("2 of 2 artefacts of results/it are not as their steps")
    assert done.stdout.splitlines() == [
        "seed0/labelled.json",
        "  was altered since step `initial` wrote it",
        "  made by step `initial` at commit 0123abc from 1 input",
        "seed0/selection.json",
        "  was made from other content of results/it/seed0/labelled.json than the present content",
        "  made by step `select` at commit 0123abc from 2 inputs",
    ]
    faults = {fault["artefact"]: fault for fault in json.loads(verified("--json").stdout)}
    assert faults["seed0/labelled.json"]["made_by"]["settings"]["initial"] == 4


@pytest.mark.usefixtures("experiment")
def test_a_missing_artefact_is_named():
    (FOLDER / "seed0" / "selection.json").unlink()
    assert verified().stdout.startswith("seed0/selection.json\n  is missing\n  made by step `select`")


@pytest.mark.usefixtures("experiment")
def test_labels_that_changed_since_are_named():
    Path("labels.json").write_text("{}")
    assert verified().stdout.count("was made from other content of labels.json than the present content") == 2
    Path("labels.json").unlink()  # as on another machine
    assert verified().exit_code == 0


def test_other_settings_are_named(experiment):
    (FOLDER / "config.yaml").write_text(yaml.safe_dump({**experiment, "budget": 3}))
    done = verified()
    assert done.stdout.startswith("seed0/selection.json\n  was made with other settings than config.yaml has now")
    assert "labelled.json\n" not in done.stdout.split("seed0/selection.json\n")[0]


@pytest.mark.usefixtures("experiment")
def test_a_damaged_record_is_named():
    place = FOLDER / "provenance" / "seed0" / "labelled.json.json"
    whole = json.loads(place.read_text())
    damaged = ["{", "[]", "3", "\0"]
    damaged += [json.dumps({name: value for name, value in whole.items() if name != key}) for key in RECORDED]
    damaged += [json.dumps({**whole, key: None}) for key in RECORDED]
    for text in damaged:
        place.write_text(text)
        assert (
            verified().stdout == "seed0/labelled.json\n  its record is damaged, or of an earlier version of mgral\n"
        )


def test_a_strategy_that_is_no_more_is_left_out(experiment):
    (FOLDER / "config.yaml").write_text(yaml.safe_dump({**experiment, "strategies": ["mgral"]}))
    assert verified().exit_code == 0


def test_a_folder_that_is_no_experiment_is_refused(tmp_path):
    done = verified(folder=tmp_path)
    assert isinstance(done.exception, InputError)
    assert f"{tmp_path} is no experiment, as there is no config.yaml" in str(done.exception)
