"""What tests of several modules start from."""

import os

import pytest
from filelock import FileLock
from hypothesis import settings
from run_workflow import TINY, snakemake

# No test is timed: this machine may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Also on a machine with a GPU: bytes are compared with those of the CPU.
os.environ["MGRAL_DEVICE"] = "cpu"
# Messages name commands in the same way wherever the environment is, active or not.
os.environ["MGRAL_PROGRAM"] = "mgral"

LONGEST = ("test_slurm.py", "test_crash.py", "test_dvc.py", "test_end_to_end.py", "test_distributed.py")


def pytest_collection_modifyitems(items):
    """Begin with the files that take minutes, so that no process is left with one of them in the end."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, worker_id):
    """A folder in which the tiny experiment has been run from nothing, on two cores; not to be changed.

    The first of pytest's processes that wants it makes it for all of them.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "tiny"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / "finished").exists():
            folder.mkdir()
            done = snakemake(folder, "--cores", "2", "--configfile", TINY)
            assert done.returncode == 0, done.stdout
            (folder / "finished").touch()
    return folder
