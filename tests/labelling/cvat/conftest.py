"""A project whose first round is written, and a stand-in of CVAT's server."""

import pytest
from cvat_project import make_ready, next_round
from cvat_server import serve_cvat
from photo_project import start


@pytest.fixture(autouse=True)
def _ready(monkeypatch):
    make_ready(monkeypatch)


@pytest.fixture
def server():
    with serve_cvat() as found:
        yield found


@pytest.fixture
def project(tmp_path):
    folder = start(tmp_path)
    next_round(folder)
    return folder
