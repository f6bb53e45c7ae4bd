"""Deals the cards of this machine to jobs, so that all are used and no card's memory is promised twice.

A job's share of a card is a file in a folder of the user's, which says how much memory it is and which the job holds
locked. The kernel drops the lock with the process, however that ends. So shares need no clean-up, and all experiments
of a user share the cards.
"""

import fcntl
import os
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mgral.compute.gpus import VISIBLE, Card, find_cards, only_cpu
from mgral.errors import InputError, StepError

POLL_SECONDS = 0.2
"""Time between two looks for room."""
QUEUE = "queue"
"""File that is locked by the job that looks for room, or waits for it: so none is overtaken for ever."""


@contextmanager
def dealt(gpus: int, memory_mb: int) -> Iterator[None]:
    """Hold cards for a job, and show it no others, by CUDA_VISIBLE_DEVICES; wait while they are full.

    Where no card can be used it does nothing: `choose_device` then says what is missing.

    Parameters
    ----------
    gpus
        Cards that the job is given; more than one are given undivided.
    memory_mb
        What a job of one card takes of its memory, in MiB; 0, or more than the card has, for all of it.
    """
    cards = _usable(gpus)
    if not 0 < gpus <= len(cards):
        yield
        return
    with ExitStack() as held:
        mine = _take(cards, gpus, 0 if gpus > 1 else memory_mb, held)
        os.environ[VISIBLE] = ",".join(card.name for card in mine)
        yield


def _usable(gpus: int) -> list[Card]:
    if not gpus or only_cpu():
        return []
    try:
        return find_cards()
    except InputError:
        return []


def _take(cards: Sequence[Card], count: int, memory_mb: int, held: ExitStack) -> list[Card]:
    """Wait until so many cards have room, lock a share of each, and return them."""
    room = f"{memory_mb} MiB of a card" if memory_mb else f"{count} empty card{'s'[: count > 1]}"
    folder, waiting = _folder(), _Waiting(f"waiting for {room}: other jobs have the {len(cards)} that there are")
    with (folder / QUEUE).open("w") as queue:
        while not _locked(queue.fileno()):
            waiting.sleep()
        while len(found := _with_room(cards, memory_mb, _in_use(folder))) < count:
            waiting.sleep()
        for card in found[:count]:
            share, path = tempfile.mkstemp(prefix=f"{_key(card)}.{_share(card, memory_mb)}.", dir=folder)
            held.callback(os.close, share)
            held.callback(Path(path).unlink, missing_ok=True)
            fcntl.flock(share, fcntl.LOCK_EX)
    return found[:count]


def _with_room(cards: Sequence[Card], memory_mb: int, in_use: Counter[str]) -> list[Card]:
    """Return the cards on which a job fits, the least used first."""
    fitting = [card for card in cards if in_use[_key(card)] + _share(card, memory_mb) <= card.memory_mb]
    return sorted(fitting, key=lambda card: in_use[_key(card)] / card.memory_mb)


def _share(card: Card, memory_mb: int) -> int:
    return min(memory_mb or card.memory_mb, card.memory_mb)


def _key(card: Card) -> str:
    return card.name.replace("/", "_")  # older names of parts of a card have some


def _in_use(folder: Path) -> Counter[str]:
    """Return the MiB of each card that living jobs hold, and remove what the others have left."""
    in_use: Counter[str] = Counter()
    for path in folder.glob("*.*.*"):
        try:
            share = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # its job has just ended
            continue
        if _locked(share):
            path.unlink(missing_ok=True)
        else:
            name, memory_mb, _ = path.name.split(".")
            in_use[name] += int(memory_mb)
        os.close(share)
    return in_use


def _locked(file: int) -> bool:
    """Lock a file, and return whether nobody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Waiting:
    """Sleeps, and says once why, from the second time on."""

    def __init__(self, why: str) -> None:
        self._why, self._times = why, 0

    def sleep(self) -> None:
        self._times += 1
        if self._times == 2:
            print(self._why, file=sys.stderr, flush=True)
        time.sleep(POLL_SECONDS)


def _folder() -> Path:
    """Return the folder of this user's shares; raises StepError where another user has made it."""
    folder = Path(tempfile.gettempdir(), f"mgral-cards-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise StepError(f"{folder} is not this user's folder; remove it, or set TMPDIR to another place")
    return folder
