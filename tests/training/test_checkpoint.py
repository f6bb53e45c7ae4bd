"""Checkpoints: the file, whose it is, and a detector's training that is killed and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from slow import slow
from squares import detector_command, write_config, write_experiment, written
from stopping import StoppedError, stop_after

from mgral.artefacts.files import write_json
from mgral.cli.main import main
from mgral.errors import InputError
from mgral.training.checkpoint import SECONDS_VARIABLE, Checkpoint, job_identity

STATE = {"weights": torch.arange(3.0), "history": [{"loss": 0.1}], "text": "x"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint file and its whole content."""
    path = tmp_path_factory.mktemp("saved") / "d.safetensors.checkpoint"
    Checkpoint(path, "job", every=0).save_if_due(lambda: STATE)
    return path, path.read_bytes()


def test_a_state_is_read_as_it_was_saved(saved):
    path, content = saved
    path.write_bytes(content)
    state = Checkpoint(path, "job").load()
    assert torch.equal(state.pop("weights"), STATE["weights"])
    assert state == {"history": [{"loss": 0.1}], "text": "x"}


@given(data=st.data())
def test_an_altered_bit_is_an_error_that_names_the_file(saved, data):
    path, content = saved
    altered = bytearray(content)
    altered[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(altered)
    with pytest.raises(InputError, match=r"d\.safetensors\.checkpoint is damaged; delete it"):
        Checkpoint(path, "job").load()


@given(data=st.data())
def test_a_missing_or_an_added_end_is_an_error_that_names_the_file(saved, data):
    path, content = saved
    kept = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:kept] if kept < len(content) else content + b"x")
    with pytest.raises(InputError, match=r"d\.safetensors\.checkpoint is damaged; delete it"):
        Checkpoint(path, "job").load()


def test_what_cannot_be_read_is_an_error_and_what_is_not_there_is_not(tmp_path):
    assert Checkpoint(tmp_path / "d.checkpoint", "job").load() is None
    with pytest.raises(InputError, match=f"{tmp_path.name}: Is a directory; delete it"):
        Checkpoint(tmp_path, "job").load()


def test_a_checkpoint_of_another_job_is_left_alone_with_a_word(saved, capsys):
    path, content = saved
    path.write_bytes(content)
    assert Checkpoint(path, "other").load() is None
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{path} is of other settings, inputs or versions; training anew"]


def test_a_checkpoint_of_another_commit_is_used_with_a_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "d.checkpoint"
    monkeypatch.setattr("mgral.training.checkpoint.commit", lambda: "before")
    Checkpoint(path, "job", every=0).save_if_due(lambda: STATE)
    assert Checkpoint(path, "job").load() is not None
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("mgral.training.checkpoint.commit", lambda: "after")
    assert Checkpoint(path, "job").load()["history"] == STATE["history"]
    assert capsys.readouterr().err == f"{path} was begun at commit before and goes on at after\n"


def test_states_are_saved_when_the_time_has_come(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("mgral.training.checkpoint.time.monotonic", lambda: now)
    checkpoint = Checkpoint(tmp_path / "d.checkpoint", "job", every=60)
    saves = []
    for now in (100.0, 159.0, 160.0, 161.0, 219.0, 220.0):
        (tmp_path / "d.checkpoint").unlink(missing_ok=True)
        checkpoint.save_if_due(lambda: STATE)
        if (tmp_path / "d.checkpoint").exists():
            saves.append(now)
    assert saves == [160.0, 220.0]


def test_removing_takes_what_a_killed_writer_left_and_nothing_else(tmp_path):
    for name in ("a.json.checkpoint", ".a.json.checkpoint.12.partial", ".a.json.12.partial", "b.json.checkpoint"):
        (tmp_path / name).touch()
    Checkpoint.beside(tmp_path / "a.json", "job").remove()
    assert {path.name for path in tmp_path.iterdir()} == {".a.json.12.partial", "b.json.checkpoint"}


def test_a_job_is_its_settings_inputs_values_and_torch(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).write_text("second" if name == "c" else "first")
    a, b, c = (tmp_path / name for name in "abc")
    job = job_identity("{}", [a, c], "variant", 0, 1)
    assert job_identity("{}", [b, c], "variant", 0, 1) == job
    others = [
        job_identity('{"agent": 1}', [a, c], "variant", 0, 1),
        job_identity("{}", [c, a], "variant", 0, 1),
        job_identity("{}", [a], "variant", 0, 1),
        job_identity("{}", [a, c], "variant", 0, 2),
        job_identity("{}", [a, c], "base", 0, 1),
    ]
    monkeypatch.setattr("torch.__version__", "0.1")
    others.append(job_identity("{}", [a, c], "variant", 0, 1))
    assert len({job, *others}) == 7


@pytest.mark.parametrize("text", ["-1", "nan", "soon", ""])
def test_an_interval_that_is_none_is_an_error(tmp_path, monkeypatch, text):
    monkeypatch.setenv(SECONDS_VARIABLE, text)
    with pytest.raises(InputError, match=f"{SECONDS_VARIABLE} is '{text}'; give a number of seconds"):
        Checkpoint.beside(tmp_path / "a.json", "job")


@pytest.fixture
def experiment(tmp_path):
    """Twelve images of a square, all labelled."""
    write_experiment(tmp_path)
    return tmp_path


def train(folder, name, monkeypatch):
    monkeypatch.setattr("sys.argv", detector_command(folder, name))
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.fixture
def stopped(experiment, monkeypatch):
    """The experiment after a stop in the middle of its training, and the checkpoint that is there."""
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    monkeypatch.setattr("sys.argv", detector_command(experiment, "d"))
    with stop_after(6, monkeypatch), pytest.raises(StoppedError):
        main()
    checkpoint = experiment / "d.safetensors.checkpoint"
    assert checkpoint.exists()
    return experiment, checkpoint


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_damaged_checkpoint_ends_the_step_with_2_and_no_output(stopped, damage, monkeypatch, capsys):
    folder, checkpoint = stopped
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    assert train(folder, "d", monkeypatch) == 2
    assert f"mgral: {checkpoint} is damaged; delete it" in capsys.readouterr().err
    assert not list(folder.glob("d.csv")) + list(folder.glob("d.safetensors"))
    checkpoint.unlink()
    assert train(folder, "d", monkeypatch) == train(folder, "undisturbed", monkeypatch) == 0
    assert written(folder, "d") == written(folder, "undisturbed")


def change_an_image(folder):
    pixels = np.load(folder / "train.npy")
    pixels[0] = 255 - pixels[0]
    np.save(folder / "train.npy", pixels)


def change_a_label(folder):
    coco = json.loads((folder / "train.json").read_text())
    coco["annotations"][0]["bbox"][0] += 1
    write_json(folder / "train.json", coco)


@pytest.mark.parametrize(
    "change",
    [
        change_an_image,
        change_a_label,
        lambda folder: write_json(folder / "labelled.json", {"images": list(range(10, 21))}),
        lambda folder: write_config(folder, 10, learning_rate=1e-3),
    ],
    ids=["image", "label", "labelled images", "setting"],
)
def test_a_checkpoint_of_other_inputs_or_settings_is_not_used(stopped, change, monkeypatch, capsys):
    folder, checkpoint = stopped
    change(folder)
    assert train(folder, "d", monkeypatch) == 0
    assert f"{checkpoint} is of other settings, inputs or versions; training anew" in capsys.readouterr().err
    assert train(folder, "undisturbed", monkeypatch) == 0
    assert written(folder, "d") == written(folder, "undisturbed")
    assert not checkpoint.exists()


def test_a_short_training_writes_no_checkpoint(experiment, monkeypatch):
    monkeypatch.delenv(SECONDS_VARIABLE, raising=False)
    monkeypatch.setattr("sys.argv", detector_command(experiment, "d"))
    with stop_after(10, monkeypatch), pytest.raises(StoppedError):
        main()
    assert not list(experiment.glob("*checkpoint*"))


@slow
def test_a_training_killed_by_the_system_goes_on_to_the_same_bytes(experiment):
    write_config(experiment, iterations=120)
    environment = os.environ | {SECONDS_VARIABLE: "0", "OMP_NUM_THREADS": "1"}

    def start(name):
        command = [sys.executable, "-m", *detector_command(experiment, name)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    process = start("d")
    checkpoint = experiment / "d.safetensors.checkpoint"
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (experiment / "d.safetensors").exists()

    messages = {}
    for name in ("d", "undisturbed"):
        process = start(name)
        messages[name] = process.communicate()[1]
        assert process.returncode == 0, messages[name]
    resumed = re.search(r"^detector: resumed at iteration (\d+) of 120 from (.+)$", messages["d"], flags=re.MULTILINE)
    assert 0 < int(resumed[1]) < 120
    assert resumed[2] == str(checkpoint)
    assert "resumed" not in messages["undisturbed"]
    assert written(experiment, "d") == written(experiment, "undisturbed")
    assert not list(experiment.glob("*checkpoint*")) + list(experiment.glob(".*checkpoint*"))
