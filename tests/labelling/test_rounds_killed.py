"""Rounds of a project whose commands are stopped or killed: the next command goes on to the same end."""

import shutil
from itertools import count
from pathlib import Path

import photo_project
import pytest
from photo_project import answered, run, start
from test_rounds import chosen, next_round

from mgral.artefacts import files
from mgral.errors import StepError
from mgral.labelling import ledger, running
from mgral.labelling.ledger import read_ledger
from mgral.labelling.state import load_project


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def test_a_training_that_was_stopped_is_finished_before_the_next_batch(tmp_path, monkeypatch):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    with monkeypatch.context() as patch:
        patch.setattr(running, "run_snakemake", stopped)
        run("train", "--folder", project, fails=1)
        assert "round 2 is not finished; continue it first: mgral project train" in next_round(project, fails=2)
    assert "next: mgral project train, which goes on" in run("status", "--folder", project)
    run("train", "--folder", project)
    with monkeypatch.context() as patch:
        patch.setattr(running, "run_snakemake", stopped)
        next_round(project, fails=1)
    assert "continue it first: mgral project next" in run("train", "--folder", project, fails=2)
    next_round(project)
    assert len(chosen(project, 3)) == 4


def test_a_training_that_the_ledger_does_not_know_yet_is_one(tmp_path, monkeypatch):
    """The command is killed when the folder of its round is there, and before the ledger has it."""
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    add = ledger.Writer.add

    def killed(writer, what, *given):
        if what == "round":
            raise Cut
        add(writer, what, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Writer, "add", killed)
        with pytest.raises(Cut):
            run("train", "--folder", project)
    assert "round 2 is not finished; continue it first: mgral project train" in next_round(project, fails=2)
    run("train", "--folder", project)
    assert load_project(project).trainings == {2}


def stopped(*_, **__):
    raise StepError("stopped")


class Cut(BaseException):
    """In the place of a kill."""


PLACED = ((files.os, "replace"), (ledger.os, "fsync"), (Path, "replace"))


"""By which files are put in their place, and the ledger is written."""


def cut_at(last, before, steps):
    """Return a function that does the same, but for the step of this number, at which it ends the command."""

    def step(*given, **named):
        if next(steps) == last:
            raise Cut
        return before(*given, **named)

    return step


def everything(project):
    """What a person has at the end: who was sent what, and the files of the round."""
    lines = [(line.what, line.events) for line in read_ledger(project)[1:]]
    made = {
        str(path.relative_to(project)): path.read_bytes()
        for path in sorted(project.rglob("*"))
        if path.is_file() and path.name not in ("ledger.jsonl", ".ledger.lock", ".files.json")
    }
    return lines, made


def test_a_round_cut_at_any_step_goes_on_to_the_same_end(tmp_path, monkeypatch):
    """Each time that something is put in its place, or the ledger is written, the command ends there once."""
    (tmp_path / "whole").mkdir()
    whole = start(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "before")
    next_round(whole)
    expected = everything(whole)
    for last in range(1, 100):
        place = tmp_path / f"cut{last}"
        shutil.copytree(tmp_path / "before", place)
        with monkeypatch.context() as patch:
            steps = count(1)
            for owner, name in PLACED:
                patch.setattr(owner, name, cut_at(last, getattr(owner, name), steps))
            try:
                next_round(place / "mine")
            except Cut:
                ended = False
            else:
                ended = True
        if ended:
            break
        if not load_project(place / "mine").sent:  # else the batch was made just before
            next_round(place / "mine")
        assert everything(place / "mine") == expected, last
    assert last > 10
