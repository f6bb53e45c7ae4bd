"""Stopping a training, or a whole run, in the middle, for the tests of what comes after."""

import itertools
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from mgral.training.checkpoint import Checkpoint


class StoppedError(Exception):
    """Raised in the place of a killed process."""


@contextmanager
def stop_after(iterations: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let trainings raise `StoppedError` once so many iterations are done and, where that is due, saved."""
    save, done = Checkpoint.save_if_due, itertools.count(1)

    def save_and_stop(checkpoint: Checkpoint, state: Callable[[], dict[str, Any]]) -> None:
        save(checkpoint, state)
        if next(done) == iterations:
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save_if_due", save_and_stop)
        yield


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process and to all that it started, itself first so that it notices nothing."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in tree:
        one.kill()
    psutil.wait_procs(tree)
    process.wait()
