"""What `make` says before it installs, and how it shows that."""

import os
import subprocess

import pytest
from run_workflow import ROOT


def test_the_set_up_tells_its_sizes_before_it_starts():
    command = ["make", "--dry-run", "--always-make", ".venv/ready"]
    said = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=True).stdout
    assert said.index("3.2 GB to download") < said.index("uv pip sync")


@pytest.mark.parametrize(("terminal", "hidden"), [(True, "false"), (False, "true")])
def test_progress_of_the_installer_is_seen_in_a_terminal(terminal, hidden):
    command = ["make", "--no-print-directory", "--eval", "shown: ; @echo $$UV_NO_PROGRESS", "shown"]
    master, slave = os.openpty()
    try:
        shown = slave if terminal else subprocess.PIPE
        done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=shown, check=True)
    finally:
        os.close(master)
        os.close(slave)
    assert done.stdout == f"{hidden}\n"
