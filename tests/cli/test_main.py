"""The command line itself: names of commands, and errors that become a sentence."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mgral.cli import main as command_line
from mgral.cli.main import mgral


@pytest.mark.parametrize(("typed", "meant"), [("selct", "'select'"), ("estimat", "'estimate'"), ("xyzzy", None)])
def test_near_commands_are_suggested(typed, meant):
    done = CliRunner().invoke(mgral, [typed])
    assert done.exit_code == 2
    assert f"No such command '{typed}'." in done.output
    assert (f"Did you mean {meant}?" in done.output) == (meant is not None)


def fail_numpy(**_):
    np.zeros((10**6, 10**9))


def fail_torch(**_):
    torch.empty(10**14)


def fail_torch_sizes(**_):
    torch.nn.Conv2d(10**9, 10**9, 3)


def fail_card(**_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")


@pytest.mark.parametrize("fail", [fail_numpy, fail_torch, fail_torch_sizes, fail_card])
def test_too_little_memory_is_one_sentence(monkeypatch, capsys, fail):
    monkeypatch.setattr(command_line, "mgral", fail)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert said.startswith("mgral: there is not enough memory (")
    assert "run fewer jobs at once" in said
    assert said.count("\n") == 1


def test_other_errors_keep_their_traceback(monkeypatch):
    def fail(**_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(command_line, "mgral", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        command_line.main()


def test_a_terminal_that_lacks_a_letter_gets_its_number(tmp_path):
    (tmp_path / "図.yaml").write_text("seeds: [\n", encoding="utf-8")
    words = [sys.executable, "-m", "mgral", "config", "--configfile", tmp_path / "図.yaml"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1:strict"}
    done = subprocess.run(words, capture_output=True, env=environment)
    assert done.returncode == 2
    assert b"\\u56f3.yaml is not YAML" in done.stderr


@pytest.mark.parametrize("cores", ["0", "-1", "many"])
def test_cores_are_a_number_from_1_or_all(cores):
    done = CliRunner().invoke(mgral, ["project", "next", "--cores", cores])
    assert done.exit_code == 2
    assert "neither a number of cores, from 1, nor all" in done.output
