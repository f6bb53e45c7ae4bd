"""Checkpoints: the state of a training in a file, from which one that was killed goes on as if it had not been."""

import glob
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mgral.artefacts.commit import commit
from mgral.artefacts.files import write_bytes
from mgral.artefacts.integrity import READ, file_hash
from mgral.compute.distributed import log_rank0
from mgral.errors import InputError

CHECKPOINT_SECONDS = 60.0
"""Time between two checkpoints, unless the environment says otherwise."""
SECONDS_VARIABLE = "MGRAL_CHECKPOINT_SECONDS"
HELP = (
    f"A training keeps its state in OUTPUT.checkpoint, every {CHECKPOINT_SECONDS:.0f} seconds or as the environment "
    f"variable {SECONDS_VARIABLE} sets. After a stop the same command continues from there, to the same bytes; it "
    "removes the file in the end."
)
"""What the help of every step that trains says of this."""


class Checkpoint:
    """The file in which one training keeps its state.

    A line with the SHA-256 of all that follows, one with the job's identity, one with the commit of the code, and
    what `torch.save` makes of the state: a file in which any byte is missing or changed is known for damaged.
    """

    def __init__(self, path: Path, job: str, every: float = CHECKPOINT_SECONDS) -> None:
        """Take the file, the identity of what is trained (see `job_identity`) and the seconds between two saves."""
        self.path = path
        self._job = job.encode()
        self._every = every
        self._last = time.monotonic()

    @classmethod
    def beside(cls, output: Path, job: str) -> "Checkpoint":
        """Return the checkpoint of the step that writes `output`, at the interval that the environment asks for."""
        return cls(output.with_name(f"{output.name}.checkpoint"), job, _interval_seconds())

    def load(self) -> dict[str, Any] | None:
        """Return the saved state; None where there is no file, or, with a line on stderr, one of another training.

        A training that was begun by the code of another commit goes on, with a line on stderr.

        Raises
        ------
        InputError
            Where the file is damaged or cannot be read.
        """
        try:
            header, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}; delete it and run the step again") from None
        if header != _header_of(body):
            raise InputError(f"{self.path} is damaged; delete it and run the step again, which then trains anew")
        job, _, content = body.partition(b"\n")
        if job != self._job:
            log_rank0(f"{self.path} is of other settings, inputs or versions; training anew")
            return None
        saved_by, _, payload = content.partition(b"\n")
        if saved_by.decode() != commit():
            log_rank0(f"{self.path} was begun at commit {saved_by.decode()} and goes on at {commit()}")
        state: dict[str, Any] = torch.load(io.BytesIO(payload), "cpu", weights_only=True)
        return state

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write what `state` returns, if the time for it has come; it may contain what `weights_only` can load."""
        if time.monotonic() - self._last < self._every:
            return
        payload = io.BytesIO()
        torch.save(state(), payload)
        body = b"\n".join([self._job, commit().encode(), payload.getvalue()])
        write_bytes(self.path, _header_of(body) + b"\n" + body)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove the file, and what a process that was killed while it wrote one has left."""
        self.path.unlink(missing_ok=True)
        for partial in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.partial"):
            partial.unlink(missing_ok=True)


def job_identity(settings: str, inputs: Sequence[Path], *values: str | int) -> str:
    """Return what tells one training from every other, as a SHA-256.

    Parameters
    ----------
    settings
        What the step reads of the configuration, and its version, as JSON.
    inputs
        Files that the step reads; their content counts, not their path.
    values
        What else it is given: step, seed, cycle.
    """
    hashes = [READ.get(path) or file_hash(path) for path in inputs]
    parts = [settings, hashes, values, torch.__version__]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _header_of(body: bytes) -> bytes:
    """Return the first line of a file, which has the digest of what follows."""
    return f"mgral checkpoint {hashlib.sha256(body).hexdigest()}".encode()


def _interval_seconds() -> float:
    """Return the seconds between two checkpoints, as the environment says."""
    text = os.environ.get(SECONDS_VARIABLE, str(CHECKPOINT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:  # which NaN is not either
        raise InputError(f"{SECONDS_VARIABLE} is {text!r}; give a number of seconds, from 0, or unset it")
    return seconds
