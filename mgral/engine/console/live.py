"""A few lines at the bottom of a terminal, drawn again in place: how far the run is, and what runs now."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live


def live_lines(stream: TextIO, lines: Callable[[], Sequence[str]], no_color: bool) -> "Live | None":
    """Start to show a headline and lines below it; None where the stream is no terminal that can redraw lines.

    What is printed meanwhile on its console, or on standard error by anybody in this process, goes above them.
    """
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return None
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    def drawn() -> Group:
        texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines()]
        texts[0].stylize("bold")
        return Group(*texts)

    console = Console(file=stream, no_color=no_color or None, highlight=False, markup=False, emoji=False)
    live = Live(console=console, get_renderable=drawn, refresh_per_second=2, transient=True, redirect_stdout=False)
    live.start()
    return live
