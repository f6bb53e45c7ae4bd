"""A job on the console: its name, how far it is, and what its log has for the user."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path

END_BYTES = 400
"""Bytes at the end of a running job's log that are read."""
SHOWN_LINES = 12
"""Lines of a log that are shown; the rest stays in the log."""
COUNTED = re.compile(r"(?:^|[\r\n|])([^\r\n|/]*) (\d[\d.]*[kMGT]?/\d[\d.]*[kMGT]?)(?= \[|[\r\n]|$)")
"""What is counted, and how far: `detector 80/140`, or in a bar `2.3G/19.3G`."""
WARNING = re.compile(r"^(?:warning: |note: |\S+:\d+: \w*Warning: ).*(?:\n[ \t].*)*", re.MULTILINE)
"""A warning of a step or of Python, or a note of a step, with the indented lines that belong to it."""


@dataclass(frozen=True)
class StartedJob:
    """A job that was started."""

    rule: str
    title: str
    logs: tuple[Path, ...]
    outputs: tuple[str, ...]
    started: float
    """Seconds since the epoch; on a cluster when it was submitted."""
    in_group: bool
    """Whether it was submitted with others, so that its own time is not known."""

    @property
    def progress(self) -> str:
        """How far it is, such as `80/140`, by the last lines of its log; empty where these do not say."""
        try:
            with self.logs[0].open("rb") as file:
                file.seek(max(0, file.seek(0, SEEK_END) - END_BYTES))
                counts = COUNTED.findall(file.read().decode(errors="replace"))
        except (OSError, IndexError):  # not begun, or without a log
            return ""
        counted, count = counts[-1] if counts else ("", "")
        return count if counted == self.rule else f"{counted} {count}".strip()

    @property
    def warnings(self) -> list[str]:
        """The warnings in its log."""
        return [
            "\n".join(_first_lines(text.splitlines()))
            for log in self.logs[:1]
            for text in WARNING.findall(_read_text(log))
        ]


def job_title(rule: str, names: Mapping[str, str]) -> str:
    """Return a job's name for people, such as `seed 0  mgral  cycle 1  detector`, from its rule and wildcards."""
    settings = [names[kind] for kind in ("table", "reward", "embedding") if names.get(kind, "default") != "default"]
    parts = [
        f"seed {names['seed']}" if "seed" in names else "",
        names.get("strategy") or names.get("round", "").removeprefix("strategies/"),
        f"cycle {names['cycle']}" if "cycle" in names else "",
        rule,
        names.get("type", ""),
        *settings,
        f"split {names['split']}" if "split" in names else "",
        "-".join(dict.fromkeys((names["first"], names["last"]))) if "first" in names else "",
    ]
    return "  ".join(filter(None, parts))


def last_words(logs: tuple[Path, ...]) -> list[str]:
    """Return the sentence `mgral: ...` and what follows it, or the last lines of the first log that has some."""
    for text in filter(None, map(_read_text, logs)):
        before, _, sentence = f"\n{text}".rpartition("\nmgral: ")
        return (
            _first_lines(f"mgral: {sentence}".splitlines())
            if before or text.startswith("mgral: ")
            else _last_lines(text)
        )
    return []


def _first_lines(lines: list[str]) -> list[str]:
    return (
        lines
        if len(lines) <= SHOWN_LINES
        else [*lines[:SHOWN_LINES], f"  ... {len(lines) - SHOWN_LINES} more lines in its log"]
    )


def _last_lines(text: str) -> list[str]:
    return text.splitlines()[-SHOWN_LINES:]


def _read_text(log: Path) -> str:
    return log.read_text(errors="replace").strip() if log.is_file() else ""
