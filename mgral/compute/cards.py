"""Deals the cards of this machine to jobs, so that all are used and no card's memory is promised twice.

A job's share of a card is a file in a folder of the user's, which says how much memory it is and which the job holds
locked. The kernel drops the lock with the process, however that ends. So shares need no clean-up, and all experiments
of a user share the cards.
"""

import fcntl
import os
import signal
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from mgral.compute.gpus import VISIBLE, Card, find_cards, only_cpu
from mgral.errors import InputError, StepError

POLL_SECONDS = 0.2
"""Time between two looks for room."""
CONTEXT_MB = 1500
"""What CUDA, cuDNN and torch take of a card before there is a tensor, in MiB; not measured yet."""
QUEUE = "queue"
"""File that is locked by the job that looks for room, or waits for it: so none is overtaken for ever."""


class Share(NamedTuple):
    """What a job holds of a card."""

    card: Card
    path: Path
    file: int
    """Descriptor of the open, locked file at `path`."""

    def free(self) -> None:
        """Give it back."""
        self.path.unlink(missing_ok=True)
        os.close(self.file)


HELD: list[Share] = []
"""What this process has taken for its job already, before the job's own code runs."""


@contextmanager
def dealt(gpus: int, memory_mb: int) -> Iterator[None]:
    """Hold cards for a job, and show it no others; see `take`. It does nothing where some are held already."""
    shares = [] if HELD else take(gpus, memory_mb)
    if shares:
        show(shares)
    try:
        yield
    finally:
        for share in shares:
            share.free()


def show(shares: Sequence[Share]) -> None:
    """Let this process see the cards of these shares only, from CUDA's start on."""
    os.environ[VISIBLE] = ",".join(share.card.name for share in shares)


def take(gpus: int, memory_mb: int, claim: Callable[[Share], Path | None] = lambda _: None) -> list[Share]:
    """Take a share of so many cards; wait while they are full.

    Where no card can be used there is none: `choose_device` then says what is missing.

    Parameters
    ----------
    gpus
        Cards that the job is given; more than one are given undivided.
    memory_mb
        What a job of one card takes of its memory, in MiB; 0, or more than the card has, for all of it.
    claim
        Called with each share before another job can take one; returns which idle worker on its card serves the job.
        Of the others those end for which there is no room any more.
    """
    cards = _usable(gpus)
    if not 0 < gpus <= len(cards):
        return []
    memory_mb = 0 if gpus > 1 else memory_mb
    room = f"{memory_mb} MiB of a card" if memory_mb else f"{gpus} empty card{'s'[: gpus > 1]}"
    folder, waiting = (
        shared_folder(),
        _Waiting(f"waiting for {room}: other jobs have the {len(cards)} that there are"),
    )
    with _open_queue(folder) as queue:
        while not lock(queue.fileno()):
            waiting.sleep()
        while len(found := _with_room(cards, memory_mb, in_use(folder))) < gpus:
            waiting.sleep()
        shares = [_hold(folder, card, _size(card, memory_mb)) for card in found[:gpus]]
        for share in shares:
            _end_idle(folder, share, claim(share))
    return shares


def _open_queue(folder: Path) -> TextIO:
    try:
        return (folder / QUEUE).open("w")
    except OSError as error:
        raise StepError(f"{folder / QUEUE} cannot be written ({error.strerror}); remove it") from None


def _usable(gpus: int) -> list[Card]:
    if not gpus or only_cpu():
        return []
    try:
        return find_cards()
    except InputError:
        return []


def _hold(folder: Path, card: Card, memory_mb: int) -> Share:
    file, path = tempfile.mkstemp(prefix=f"{key(card)}.{memory_mb}.", dir=folder)
    fcntl.flock(file, fcntl.LOCK_EX)
    return Share(card, Path(path), file)


def _with_room(cards: Sequence[Card], memory_mb: int, used: Counter[str]) -> list[Card]:
    """Return the cards on which a job fits, the least used first."""
    fitting = [card for card in cards if used[key(card)] + _size(card, memory_mb) <= card.memory_mb]
    return sorted(fitting, key=lambda card: used[key(card)] / card.memory_mb)


def _size(card: Card, memory_mb: int) -> int:
    return min(memory_mb or card.memory_mb, card.memory_mb)


def key(card: Card) -> str:
    """Return a card's name as part of a file's."""
    return card.name.replace("/", "_")  # older names of parts of a card have some


def in_use(folder: Path) -> Counter[str]:
    """Return the MiB of each card, by `key`, that living jobs hold, and remove what others have left."""
    used: Counter[str] = Counter()
    for path in living(folder, "*.*.*"):
        name, memory_mb, _ = path.name.split(".")
        used[name] += int(memory_mb)
    return used


def living(folder: Path, pattern: str) -> list[Path]:
    """Return the files in a folder whose process still holds them locked, and remove the others."""
    found = []
    for path in sorted(path for path in folder.glob(pattern) if not path.is_dir()):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # its process has just ended
            continue
        if lock(file):
            path.unlink(missing_ok=True)
        else:
            found.append(path)
        os.close(file)
    return found


def lock(file: int) -> bool:
    """Lock an open file, and return whether nobody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def idle_workers(share: Share) -> list[Path]:
    """Return the files of the processes that have started CUDA on a share's card, and wait for a job.

    Their names end with the number of the process. Each counts as CONTEXT_MB, and ends where a job needs that.
    """
    return living(idle_folder(), f"{key(share.card)}.*")


def _end_idle(folder: Path, share: Share, kept: Path | None) -> None:
    """End the idle workers that have no room beside the shares of a card, and wait until they have ended."""
    room = share.card.memory_mb - in_use(folder)[key(share.card)]
    others = [path for path in idle_workers(share) if path != kept]
    for path in others[room // CONTEXT_MB :]:
        file = os.open(path, os.O_RDONLY)
        if not lock(file):
            os.kill(int(path.name.split(".")[-1]), signal.SIGTERM)
            fcntl.flock(file, fcntl.LOCK_EX)
        path.unlink(missing_ok=True)
        os.close(file)


def idle_folder() -> Path:
    """Return the folder of the files of idle workers."""
    folder = shared_folder() / "idle"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:  # such as a file of this name
        raise StepError(f"{folder} is to be a folder, and cannot be made ({error.strerror}); remove it") from None
    return folder


class _Waiting:
    """Sleeps, and says once why, from the second time on."""

    def __init__(self, why: str) -> None:
        self._why, self._times = why, 0

    def sleep(self) -> None:
        self._times += 1
        if self._times == 2:
            print(self._why, file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)


def shared_folder() -> Path:
    """Return the folder of this user's shares; raises StepError where another user has made it."""
    folder = Path(tempfile.gettempdir(), f"mgral-cards-{os.getuid()}")
    with suppress(FileExistsError):  # also where it is no folder
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StepError(f"{folder} is not this user's folder; remove it, or set TMPDIR to another place")
    return folder
