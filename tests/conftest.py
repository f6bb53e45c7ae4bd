"""What tests of several modules start from."""

import pytest
from run_workflow import TINY, snakemake

LONGEST = ("test_slurm.py", "test_crash.py", "test_dvc.py", "test_end_to_end.py", "test_distributed.py")


def pytest_collection_modifyitems(items):
    """Begin with the files that take minutes, so that no process is left with one of them in the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A folder in which the tiny experiment has been run from nothing, on two cores; not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    done = snakemake(folder, "--cores", "2", "--configfile", TINY)
    assert done.returncode == 0, done.stdout
    return folder
