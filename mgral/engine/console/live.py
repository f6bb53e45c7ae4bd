"""A few lines at the bottom of a terminal, drawn again in place: how far the run is, and what runs now."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from mgral.engine.console.jobs import Job
from mgral.engine.console.time_left import duration

if TYPE_CHECKING:
    from rich.console import Group

LONGEST = 8
"""Running jobs that are shown."""
State = Callable[[], tuple[str, list[Job]]]


class LiveLines:
    """The display. What is printed meanwhile, by anybody in this process, goes above it."""

    def __init__(self, stream: TextIO, state: State, no_color: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self.state = state
        self.console = Console(file=stream, no_color=no_color or None, highlight=False, markup=False, emoji=False)
        self.live = Live(
            console=self.console,
            get_renderable=self._lines,
            refresh_per_second=2,
            transient=True,
            redirect_stdout=False,
        )
        self.live.start()

    @classmethod
    def on(cls, stream: TextIO, state: State, no_color: bool) -> "LiveLines | None":
        """Return the display, or None where the stream is no terminal that can redraw lines."""
        able = stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
        return cls(stream, state, no_color) if able else None

    def print(self, text: str, style: str = "") -> None:
        """Print above the display."""
        self.console.print(text, style=style or None, soft_wrap=True)

    def stop(self) -> None:
        """Remove the display."""
        self.live.stop()

    def _lines(self) -> "Group":
        from rich.console import Group
        from rich.text import Text

        headline, jobs = self.state()
        now = time.time()
        parts = [(job.title, job.progress, duration(now - job.started)) for job in jobs[:LONGEST]]
        lines = [headline, *("  " + "  ".join(filter(None, part)) for part in parts)]
        if len(jobs) > LONGEST:
            lines.append(f"  and {len(jobs) - LONGEST} more")
        shown = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
        shown[0].stylize("bold")
        return Group(*shown)
