"""What tests of several modules start from."""

import pytest
from run_workflow import TINY, snakemake


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A folder in which the tiny experiment has been run from nothing, on two cores; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    done = snakemake(folder, "--cores", "2", "--configfile", TINY)
    assert done.returncode == 0, done.stdout
    return folder
