"""A job on the console: its name, how far it is, and what its log has for the user."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

END = 400
"""Bytes at the end of a running job's log that are read."""
LINES = 12
"""Lines of a log that are shown; the rest stays in the log."""
NO_MESSAGE = "It left no message: it may have been killed, for instance because memory ran out."
COUNT = re.compile(r"(?:([^%|]*) )?(\d[\d.]*[kMGT]?/\d[\d.]*[kMGT]?)")
"""What is counted, and how far: `detector 80/140`, or in a bar `2.3G/19.3G`."""
WARNING = re.compile(r"warning: |\S+:\d+: \w*Warning: ")
"""How a line begins that warns: of a step, or of Python."""


@dataclass(frozen=True)
class Job:
    """A job that was started."""

    rule: str
    title: str
    logs: tuple[Path, ...]
    outputs: tuple[str, ...]
    started: float
    """Seconds since the epoch; on a cluster when it was submitted."""
    in_group: bool
    """Whether it is submitted with others, so that its own time is not known."""

    @property
    def progress(self) -> str:
        """How far it is, such as `80/140`, by the last lines of its log; empty where these do not say."""
        try:
            with self.logs[0].open("rb") as file:
                file.seek(max(0, file.seek(0, SEEK_END) - END))
                lines = file.read().decode(errors="replace").splitlines()
        except (OSError, IndexError):  # not begun, or it has no log
            return ""
        counts = [found for line in lines if (found := COUNT.search(line))]
        if not counts:
            return ""
        what, count = counts[-1].groups()
        return count if what in (None, self.rule) else f"{what.strip()} {count}"

    @property
    def warnings(self) -> list[str]:
        """The warnings in its log, each with the indented lines that belong to it."""
        found: list[list[str]] = []
        inside = False
        for line in _lines(self.logs[0]) if self.logs else []:
            if WARNING.match(line):
                found.append([line])
            elif inside and line.startswith(" "):
                found[-1].append(line)
            inside = bool(WARNING.match(line)) or (inside and line.startswith(" "))
        return ["\n".join(shortened(lines, self.logs[0])) for lines in found]


def job_title(rule: str, wildcards: Mapping[str, str]) -> str:
    """Return a job's name for people, such as `seed 0  mgral  cycle 1  detector`."""
    names = dict(wildcards)
    place = names.get("strategy") or names.get("round", "").removeprefix("strategies/")
    settings = [names[kind] for kind in ("table", "reward", "embedding") if names.get(kind, "default") != "default"]
    parts = [
        f"seed {names['seed']}" if "seed" in names else "",
        place,
        f"cycle {names['cycle']}" if "cycle" in names else "",
        rule,
        *settings,
        f"split {names['split']}" if "split" in names else "",
        "-".join(dict.fromkeys((names["first"], names["last"]))) if "first" in names else "",
    ]
    return "  ".join(part for part in parts if part)


@dataclass(frozen=True)
class Failure:
    """A job that failed."""

    title: str
    logs: tuple[Path, ...]
    """Its own first; on a cluster that of the submission too."""
    reason: str
    """What the cluster says, such as that memory ran out; often empty."""

    def lines(self) -> list[str]:
        """Return what a user must know of it."""
        words = [self.reason, *last_words(self.logs)] if self.reason else last_words(self.logs) or [NO_MESSAGE]
        logs = [f"    log: {log}" for log in self.logs if log.exists()]
        return [f"failed: {self.title}", *(f"    {line}" for line in words), *logs]


def last_words(logs: tuple[Path, ...]) -> list[str]:
    """Return the sentence `mgral: ...` with what follows it, or else the last lines of the first log that has some."""
    for log in logs:
        lines = _lines(log)
        sentences = [number for number, line in enumerate(lines) if line.startswith("mgral: ")]
        if sentences:
            return shortened(lines[sentences[-1] :], log)
        if lines:
            return lines[-LINES:]
    return []


def shortened(lines: list[str], log: Path) -> list[str]:
    """Return the first lines, and where the others are."""
    return lines if len(lines) <= LINES else [*lines[:LINES], f"  ... {len(lines) - LINES} more lines in {log}"]


def _lines(log: Path) -> list[str]:
    """Return the lines of a log that hold something; a bar that was redrawn in place is a line each time."""
    if not log.is_file():
        return []
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
