"""How far a loop is, on standard error: a bar on a terminal, lines in a log."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
INTERVAL = 1.0
"""Seconds between lines at first."""
SHARE = 0.02
"""Later, two lines are this fraction of the elapsed time apart, so that the log of many hours stays short."""


def tracked(items: Iterable[Item], title: str, total: int, unit: str = "it", done: int = 0) -> Iterator[Item]:
    """Yield the items, and show how many of `total` are done, counting `done` that were finished earlier.

    A log gets lines such as `detector 80/140`, which the console reads.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, title, total, unit=unit, initial=done)
        return
    start = last_line = time.monotonic()
    for number, item in enumerate(items, done + 1):
        yield item
        now = time.monotonic()
        if now - last_line > max(INTERVAL, SHARE * (now - start)):
            print(f"{title} {number}/{total}", file=sys.stderr, flush=True)
            last_line = now
