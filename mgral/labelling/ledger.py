"""The ledger of a project: a file that only grows, one line for each change."""

import getpass
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from mgral.errors import InputError, StepError, program

FILE = "ledger.jsonl"
LOCK = ".ledger.lock"
What = Literal[
    "project",
    "pictures",
    "moved",
    "copies",
    "classes",
    "audit",
    "test",
    "labels",
    "withdrawn",
    "recalled",
    "round",
    "sent",
    "pushed",
]
Event = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A change of a project: a line of the ledger."""

    at: str
    """When, in ISO 8601, UTC."""
    who: str
    """Account of the person who ran the command."""
    what: What
    """Kind of all its events."""
    events: tuple[Event, ...]
    file: str = ""
    """Name of the file that it comes from, if any."""
    sha256: str = ""
    """Digest of that file, see `starting.digest_of`; with `--rename`, of the given names too."""


def read_ledger(folder: Path) -> list[Line]:
    """Return all changes of the project in a folder, the oldest first.

    A last line without a line break was cut off by a crash and is ignored.

    Raises
    ------
    InputError
        Where there is no ledger, or another line is damaged.
    """
    path = folder / FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(_no_project(folder)) from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; correct its permissions or the disk, and run again") from None
    lines = []
    for number, text in enumerate(content[: content.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            values = json.loads(text)
            lines.append(Line(**{**values, "events": tuple(values["events"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path}: line {number} is damaged ({error}); restore the file from a copy or from Git"
            ) from None
    return lines


def _no_project(folder: Path) -> str:
    return f"{folder} contains no project ({FILE}); go to its folder, restore the file, or: {program()} project init"


def new_line(what: What, events: Sequence[Event], file: str = "", sha256: str = "") -> Line:
    """Return a change that is made now, by the account that runs this."""
    return Line(datetime.now(UTC).isoformat(timespec="seconds"), _account(), what, tuple(events), file, sha256)


def line_text(line: Line) -> bytes:
    """Return a change as a line of the ledger: JSON in UTF-8, with `?` for characters that UTF-8 cannot encode."""
    return json.dumps(vars(line), ensure_ascii=False, separators=(",", ":")).encode(errors="replace") + b"\n"


class Writer:
    """Adds lines to the ledger of a project; made by `writing`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def add(self, what: What, events: Sequence[Event], file: str = "", sha256: str = "") -> None:
        """Add a change, on disk when this returns; nothing where there is no event.

        Raises
        ------
        StepError
            Where it cannot be written, as on a full disk; then the ledger is as it was.
        """
        if not events:
            return
        text = line_text(new_line(what, events, file, sha256))
        try:
            with self.path.open("ab+") as stream:
                end = _end_of_lines(stream)
                try:
                    os.ftruncate(stream.fileno(), end)
                    stream.write(text)
                    stream.flush()
                    os.fsync(stream.fileno())
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(stream.fileno(), end)
                    raise
        except OSError as error:
            raise StepError(
                f"{self.path} cannot be written ({error.strerror}); nothing is changed: free space or mend the "
                "rights, and run the same command again"
            ) from None


@contextmanager
def writing(folder: Path) -> Iterator[Writer]:
    """Give the writer of a project's ledger; nobody else writes meanwhile.

    Raises
    ------
    InputError
        Where there is no project, or another command writes at this moment.
    StepError
        Where the folder cannot be written to.
    """
    if not (folder / FILE).exists():
        raise InputError(_no_project(folder))
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another command is changing the project {folder}; wait until it has ended") from None
    except OSError as error:
        raise StepError(
            f"{folder} cannot be written to ({error.strerror}); correct the permissions of the folder"
        ) from None
    try:
        yield Writer(folder)
    finally:
        lock.release()


def _end_of_lines(stream: Any) -> int:
    """Return the length in bytes of all complete lines; a line that a crash cut off may follow them."""
    size: int = stream.seek(0, os.SEEK_END)
    step, position = 1 << 16, size
    while position > 0:
        start = max(0, position - step)
        stream.seek(start)
        line_break = stream.read(position - start).rfind(b"\n")
        if line_break >= 0:
            return start + int(line_break) + 1
        position = start
    return 0


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in containers
        return str(os.getuid())
