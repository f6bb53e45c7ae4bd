"""The step `head`: beside the step `detector`, on the same files."""

import json

import pytest
from squares import detector_command, write_config, write_experiment, written
from stopping import StoppedError, stop_after

from mgral.artefacts.files import read_csv, write_json
from mgral.cli.main import main
from mgral.training.checkpoint import SECONDS_VARIABLE


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Twelve images of a square, all labelled, and the detector that was trained on them."""
    write_experiment(tmp_path)
    run(detector_command(tmp_path, "detector"), monkeypatch)
    return tmp_path


def run(command, monkeypatch, code=0):
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code


def head_command(folder, name, kind="llal"):
    command = detector_command(folder, name)
    return [command[0], "head", *command[2:], "--type", kind, "--detector", str(folder / "detector.safetensors")]


def test_a_head_is_written_and_the_detector_is_found_again(experiment, monkeypatch, capsys):
    before = written(experiment, "detector")
    run(head_command(experiment, "head"), monkeypatch)
    assert "warning" not in capsys.readouterr().err
    assert written(experiment, "detector") == before
    assert [row["iteration"] for row in read_csv(experiment / "head.csv")] == [str(i) for i in range(10)]
    run(head_command(experiment, "again"), monkeypatch)
    assert written(experiment, "again") == written(experiment, "head")


def test_a_detector_that_was_trained_otherwise_is_named_and_the_head_is_written(experiment, monkeypatch, capsys):
    write_config(experiment, iterations=9)
    run(head_command(experiment, "head"), monkeypatch)
    assert (
        "warning: the detector that was trained once more for the head of llal differs from"
        in capsys.readouterr().err
    )
    assert len(read_csv(experiment / "head.csv")) == 9


def test_a_stopped_step_goes_on_to_the_same_bytes(experiment, monkeypatch, capsys):
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    monkeypatch.setattr("sys.argv", head_command(experiment, "head"))
    with stop_after(6, monkeypatch), pytest.raises(StoppedError):
        main()
    assert (experiment / "head.safetensors.checkpoint").exists()
    run(head_command(experiment, "head"), monkeypatch)
    assert "head: resumed at iteration 6 of 10" in capsys.readouterr().err
    run(head_command(experiment, "undisturbed"), monkeypatch)
    assert written(experiment, "head") == written(experiment, "undisturbed")
    assert not list(experiment.glob("*checkpoint*"))


def test_a_checkpoint_of_another_head_is_not_used(experiment, monkeypatch, capsys):
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    monkeypatch.setattr("sys.argv", head_command(experiment, "head", "meh_hua"))
    with stop_after(6, monkeypatch), pytest.raises(StoppedError):
        main()
    run(head_command(experiment, "head"), monkeypatch)
    assert "is of other settings, inputs or versions; training anew" in capsys.readouterr().err


def test_a_strategy_without_a_head_ends_with_2(experiment, monkeypatch, capsys):
    run(head_command(experiment, "head", "random"), monkeypatch, code=2)
    assert "mgral: strategy random has no head" in capsys.readouterr().err
    assert not list(experiment.glob("head.*"))


def test_selection_takes_the_head(experiment, monkeypatch, capsys):
    run(head_command(experiment, "head"), monkeypatch)
    config = json.loads((experiment / "config.yaml").read_text())
    write_json(experiment / "config.yaml", {**config, "budget": 2, "strategies": ["llal"]})
    write_json(experiment / "labelled.json", {"images": list(range(10, 15))})
    command = [*detector_command(experiment, "x")[2:-8], "--seed=0", "--cycle=1", "--strategy=llal"]
    command = ["mgral", "select", *command, f"--detector={experiment}/detector.safetensors"]
    command += [f"--output={experiment}/selection.json"]
    run(command, monkeypatch, code=2)
    assert "strategy llal needs --head" in capsys.readouterr().err
    run([*command, f"--head={experiment}/head.safetensors"], monkeypatch)
    selection = json.loads((experiment / "selection.json").read_text())
    assert (len(selection["images"]), selection["forward_passes"]) == (2, 7)
