"""A project whose first round is written for Label Studio, and a stand-in of its server."""

import pytest
from label_studio_stand_in import stand_in
from photo_project import run, start
from pushed import make_ready


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    make_ready(monkeypatch)


@pytest.fixture
def project(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--format", "label_studio")
    return project


@pytest.fixture
def server(project):
    with stand_in(project) as server:
        yield server
