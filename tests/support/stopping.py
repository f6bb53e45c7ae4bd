"""Stopping a training, or a whole run, in the middle, for the tests of what comes after."""

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
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


def start_group(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str], folder: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a command at the head of a process group of its own, both its outputs at the end of `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Send SIGKILL to a process of `start_group` and to all that it started, in one stroke, and see them gone.

    One stroke, because a tree that is killed one by one may lose or gain a process in between.
    """
    tree = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not psutil.wait_procs(tree, timeout=60)[1]
