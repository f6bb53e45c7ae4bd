"""A job on the console: its name, how far it is, and what its log has for the user."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

END = 400
"""Bytes at the end of a running job's log that are read."""
LINES = 12
"""Lines of a log that are shown; the rest stays in the log."""
COUNT = re.compile(r"(\d[\d.]*[kMGT]?)/(\d[\d.]*[kMGT]?)")
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
        for log in self.logs[:1]:
            if log.exists():
                with log.open("rb") as file:
                    file.seek(max(0, log.stat().st_size - END))
                    counts = COUNT.findall(file.read().decode(errors="replace"))
                return "/".join(counts[-1]) if counts else ""
        return ""

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
        f"{names['first']}-{names['last']}" if "first" in names else "",
    ]
    return "  ".join(part for part in parts if part)


def last_words(logs: tuple[Path, ...]) -> list[str]:
    """Return why a job failed: the sentence `mgral: ...` with what follows it, or else a log's last lines."""
    for log in logs:
        lines = _lines(log)
        sentences = [number for number, line in enumerate(lines) if line.startswith("mgral: ")]
        if sentences:
            return shortened(lines[sentences[-1] :], log)
        if lines:
            return lines[-LINES:]
    return ["It left no message: it may have been killed, for instance because memory ran out."]


def shortened(lines: list[str], log: Path) -> list[str]:
    """Return the first lines, and where the others are."""
    return lines if len(lines) <= LINES else [*lines[:LINES], f"  ... {len(lines) - LINES} more lines in {log}"]


def _lines(log: Path) -> list[str]:
    """Return the lines of a log that hold something; a bar that was redrawn in place is a line each time."""
    if not log.is_file():
        return []
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
