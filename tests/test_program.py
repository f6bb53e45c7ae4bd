"""How messages name the commands that help, so that a person can copy them."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from mgral.errors import PROGRAM, program


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment of Python's that is not active, in a folder with a space in its name; its command."""
    own = tmp_path / "a clone" / ".venv" / "bin" / "mgral"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(own.with_name("python")))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv(PROGRAM)
    return own


def test_it_is_what_a_shell_finds_in_the_folder(environment, monkeypatch):
    clone = environment.parents[2]
    for folder, expected in ((clone, ".venv/bin/mgral"), (clone / "mine", "../.venv/bin/mgral")):
        folder.mkdir(exist_ok=True)
        assert program(folder) == expected
        monkeypatch.chdir(folder)
        assert program() == expected
    far = environment.parents[3] / "other" / "folder"
    for folder in (far, Path("/")):
        (word,) = shlex.split(program(folder))
        assert Path(os.path.normpath(folder / word)) == environment


def test_it_is_the_name_where_the_path_has_this_one(environment, monkeypatch):
    monkeypatch.setenv("PATH", f"{environment.parent}:/usr/bin")
    assert program() == "mgral"
    other = environment.parents[3] / "mgral"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:{environment.parent}")
    assert program(environment.parents[2]) == ".venv/bin/mgral"


def test_jobs_name_what_the_person_called(environment, monkeypatch):
    monkeypatch.setenv(PROGRAM, ".venv/bin/mgral")  # the Snakefile has put the environment's programs on the PATH
    monkeypatch.setenv("PATH", f"{environment.parent}:/usr/bin")
    assert program() == ".venv/bin/mgral"
