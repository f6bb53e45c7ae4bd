"""Assigns the cards (GPUs) of this machine to jobs, so that all are used and no card's memory is assigned twice.

For its share of a card a job keeps a file locked in a folder of the user; the file's name has the card and the memory
in MiB. The kernel releases the lock when the process ends, for whatever reason. So shares need no clean-up, and all
experiments of a user can share the cards.
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
"""GPU memory that CUDA, cuDNN and torch take before there is a tensor, in MiB; an estimate, not measured yet."""
QUEUE = "queue"
"""File that a job keeps locked while it looks or waits for room, so that no job is overtaken for ever."""


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
"""Shares that this process already holds when the job's own code starts."""


@contextmanager
def hold_cards(gpus: int, memory_mb: int) -> Iterator[None]:
    """Hold cards for a job, and show it no others; see `take`. It does nothing where some are held already."""
    shares = [] if HELD else take(gpus, memory_mb)
    if shares:
        make_visible(shares)
    try:
        yield
    finally:
        for share in shares:
            share.free()


def make_visible(shares: Sequence[Share]) -> None:
    """Let this process see the cards of these shares only, from CUDA's start on."""
    os.environ[VISIBLE] = ",".join(share.card.name for share in shares)


def take(gpus: int, memory_mb: int, claim: Callable[[Share], Path | None] = lambda _: None) -> list[Share]:
    """Take a share of each of `gpus` cards; wait while they are full.

    It takes none if this machine has fewer usable cards; `choose_device` then says what is missing.

    Parameters
    ----------
    gpus
        Number of cards that the job needs. If it is more than one, the job does not share them.
    memory_mb
        Memory that a job of one card needs, in MiB; 0, or more than the card has, for the whole card.
    claim
        Called with each share before another job can take one. It returns the file of the idle worker on that card
        that will run the job, or None. Other idle workers are ended if there is no room for them any more.
    """
    cards = _usable_cards(gpus)
    if not 0 < gpus <= len(cards):
        return []
    memory_mb = 0 if gpus > 1 else memory_mb
    room = f"{memory_mb} MiB of a GPU" if memory_mb else f"{gpus} empty GPU{'s'[: gpus > 1]}"
    folder, waiting = (
        shared_folder(),
        _Waiting(f"waiting for {room}: other jobs have the {len(cards)} that there are"),
    )
    with _open_queue(folder) as queue:
        while not lock(queue.fileno()):
            waiting.sleep()
        while len(fitting := _cards_with_room(cards, memory_mb, in_use(folder))) < gpus:
            waiting.sleep()
        shares = [_hold_share(folder, card, _share_memory(card, memory_mb)) for card in fitting[:gpus]]
        for share in shares:
            _end_idle_workers(folder, share, claim(share))
    return shares


def _open_queue(folder: Path) -> TextIO:
    """Open the file of the queue, which the caller locks."""
    try:
        return (folder / QUEUE).open("w")
    except OSError as error:
        raise StepError(f"{folder / QUEUE} cannot be written ({error.strerror}); remove it") from None


def _usable_cards(gpus: int) -> list[Card]:
    """Return the cards of this machine for a job that needs so many; none where it needs none or cannot use them."""
    if not gpus or only_cpu():
        return []
    try:
        return find_cards()
    except InputError:
        return []


def _hold_share(folder: Path, card: Card, memory_mb: int) -> Share:
    """Make the file of a share, and lock it."""
    file, path = tempfile.mkstemp(prefix=f"{key(card)}.{memory_mb}.", dir=folder)
    fcntl.flock(file, fcntl.LOCK_EX)
    return Share(card, Path(path), file)


def _cards_with_room(cards: Sequence[Card], memory_mb: int, used: Counter[str]) -> list[Card]:
    """Return the cards on which a job fits, the least used first."""
    fitting = [card for card in cards if used[key(card)] + _share_memory(card, memory_mb) <= card.memory_mb]
    return sorted(fitting, key=lambda card: used[key(card)] / card.memory_mb)


def _share_memory(card: Card, memory_mb: int) -> int:
    """Return the memory that a job takes of a card, in MiB: what it needs, or the whole card."""
    return min(memory_mb or card.memory_mb, card.memory_mb)


def key(card: Card) -> str:
    """Return a card's name in a form that file names can contain."""
    return card.name.replace("/", "_")  # older names of parts of a card have some


def in_use(folder: Path) -> Counter[str]:
    """Return the MiB that running jobs hold of each card, by `key`, and remove files of jobs that have ended."""
    used: Counter[str] = Counter()
    for path in still_locked(folder, "*.*.*"):
        name, memory_mb, _ = path.name.split(".")
        used[name] += int(memory_mb)
    return used


def still_locked(folder: Path, pattern: str) -> list[Path]:
    """Return the files in a folder whose process still holds them locked, and remove the others."""
    locked = []
    for path in sorted(path for path in folder.glob(pattern) if not path.is_dir()):
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # its process has just ended
            continue
        if lock(file):
            path.unlink(missing_ok=True)
        else:
            locked.append(path)
        os.close(file)
    return locked


def lock(file: int) -> bool:
    """Try to lock an open file; return False if another process holds the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def idle_workers(share: Share) -> list[Path]:
    """Return the files of the idle workers on a share's card: processes that have started CUDA and wait for a job.

    The file names end with the process id. A worker takes `CONTEXT_MB`, and is ended if a job needs that memory.
    """
    return still_locked(idle_folder(), f"{key(share.card)}.*")


def _end_idle_workers(folder: Path, share: Share, kept_worker: Path | None) -> None:
    """End the idle workers that have no room beside the shares of a card, and wait until they have ended."""
    room = share.card.memory_mb - in_use(folder)[key(share.card)]
    others = [path for path in idle_workers(share) if path != kept_worker]
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

    def __init__(self, reason: str) -> None:
        self._reason, self._times = reason, 0

    def sleep(self) -> None:
        self._times += 1
        if self._times == 2:
            print(self._reason, file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)


def shared_folder() -> Path:
    """Return the folder of this user's shares; raises StepError where another user has made it."""
    folder = Path(tempfile.gettempdir(), f"mgral-cards-{os.getuid()}")
    with suppress(FileExistsError):  # also where it is no folder
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StepError(f"{folder} is not this user's folder; remove it, or set TMPDIR to another place")
    return folder
