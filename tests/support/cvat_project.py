"""A project whose rounds go to a stand-in for CVAT, and come back from there."""

import csv
from pathlib import Path

import photo_project
import pytest
import urllib3
from cvat_state import PASSWORD, TOKEN, USER, CvatServer
from photo_project import run

from mgral.labelling import running
from mgral.labelling.records import State
from mgral.labelling.servers import cvat, cvat_session
from mgral.labelling.state import ImageState, Label, load_project

CAR = (2.0, 3.0, 20.0, 10.0, "car")
DOG = (8.0, 9.0, 12.0, 6.0, "dog")


def make_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make rounds at once and waits short, set the token, and let a job have 3 pictures."""
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    monkeypatch.setattr(urllib3.util.Retry, "sleep", lambda *_: None)
    monkeypatch.setattr(cvat_session, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(cvat, "PICTURES_PER_JOB", 3)
    for name in (cvat_session.USER, cvat_session.PASSWORD, cvat_session.ORGANIZATION):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(cvat_session.TOKEN, TOKEN)


def next_round(project: Path, *options: str) -> None:
    """Open a round; the first has 8 pictures, and so three jobs, of 3, 3 and 2."""
    run("next", "--folder", project, "--format", "cvat", *options)


def push(project: Path, server: CvatServer, *options: str | Path, fails: int = 0) -> str:
    """Push, and return what is said, which holds no secret."""
    said = run("push", "--folder", project, "--to", "cvat", "--url", server.url, *options, fails=fails)
    assert TOKEN not in said
    assert PASSWORD not in said
    return said


def pull(project: Path, *options: str, fails: int = 0) -> str:
    """Pull, and return what is said, which holds no secret."""
    said = run("pull", "--folder", project, *options, fails=fails)
    assert TOKEN not in said
    assert PASSWORD not in said
    return said


def finish(server: CvatServer, task: int, by: str = USER) -> None:
    """Somebody completes all jobs of a task."""
    for job in server.jobs_of(task):
        server.set_job(job["id"], state="completed", assignee={"username": by})


def second_round(project: Path, server: CvatServer) -> None:
    """Label a car in each picture of the first round, and open the next, which has boxes that a detector found."""
    push(project, server)
    for name in server.shown(11):
        server.label(name, [CAR])
    finish(server, 11)
    for job in server.jobs_of(11):  # a ledger counts in seconds, and what follows may take less than one
        job["updated_date"] = "2026-01-02T03:04:05.678900+00:00"
    pull(project)
    next_round(project)


def ranked(folder: Path) -> list[str]:
    """Return the names of a share's pictures, best first."""
    with (folder / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        return [row["file"] for row in csv.DictReader(file)]


def image_of(project: Path, name: str) -> ImageState:
    """Return what a project knows of a picture."""
    found = load_project(project)
    return next(found.images[image] for image, file in found.files.items() if Path(file).name == name)


def states(project: Path, names: list[str]) -> list[State]:
    """Return the states of pictures."""
    return [image_of(project, name).state for name in names]


def label_of(project: Path, name: str) -> Label:
    """Return the label of a picture that one person has labelled."""
    (label,) = image_of(project, name).labels.values()
    return label
