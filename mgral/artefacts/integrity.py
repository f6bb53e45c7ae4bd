"""Whether an artefact is what its step wrote, by the record that the step left; noticed when it is read."""

import functools
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from mgral.errors import program

CONFIG = "config.yaml"
"""File by which an experiment's folder is recognised. It is kept up to date, so it has no record itself."""
CANVAS = "canvas.json"
"""File by which a folder of pixels is recognised that the rounds of a project share; it has records too."""
RECORDS = "provenance"
"""Folder of the records, in the experiment's."""
LARGE = 2**28
"""Size in bytes from which a mapped file is compared with its record by size only, without reading it."""
RECORDED = {
    "step": str,
    "sha256": str,
    "bytes": int,
    "folder": str,
    "commit": str,
    "arguments": dict,
    "settings": dict,
    "inputs": dict,
}
"""Keys of a record that are used, with the types of their values."""

READ: dict[Path, str] = {}
"""SHA-256 of each file that this process read."""
WRITTEN: set[Path] = set()
"""Files that this process wrote."""
NOTES: dict[str, str | int] = {}
"""Further entries that this process adds to the records of its outputs, such as an external command."""


def experiment_folder(path: Path) -> Path | None:
    """Return the folder of the experiment, or of shared pixels, that a file belongs to, if it belongs to one."""
    return next(
        (folder for folder in path.parents if any((folder / name).is_file() for name in (CONFIG, CANVAS))), None
    )


def record_path(path: Path) -> Path | None:
    """Return where the record of an artefact is, if it may have one."""
    folder = experiment_folder(path)
    if folder is None or path.name in (CONFIG, CANVAS):
        return None
    return folder / RECORDS / path.parent.relative_to(folder) / f"{path.name}.json"


def read_verified(path: Path) -> bytes:
    """Read a file, with a warning where it is not what its step wrote; raises OSError."""
    content = path.read_bytes()
    _note(path, hashlib.sha256(content).hexdigest(), load_record(path))
    return content


def verify_file(path: Path, large: int | None = None) -> None:
    """Check a file that is to be mapped into memory, as `read_verified` does.

    From `large` bytes (LARGE unless given) it is compared by its size alone.
    """
    record = load_record(path)
    size = path.stat().st_size
    # Its time of change is no help: Snakemake sets that of all outputs again when a job is done.
    if record is not None and size == record["bytes"] and size >= (LARGE if large is None else large):
        READ[path] = record["sha256"]
    else:
        _note(path, file_hash(path), record)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of the files in a folder."""
    if path.is_file():
        return file_hash(path)
    lines = "".join(f"{file_hash(file)}  {file.relative_to(path).as_posix()}\n" for file in files_of(path))
    return hashlib.sha256(lines.encode()).hexdigest()


def files_of(path: Path) -> list[Path]:
    """Return a file itself, or the files in a folder, less the hidden ones, which the engines put there."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("[!.]*") if file.is_file())


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_record(path: Path) -> dict[str, Any] | None:
    """Return the record of an artefact; None where there is none that can be read."""
    record_file = record_path(path)
    return None if record_file is None or not record_file.exists() else parse_record(record_file)


def parse_record(record_file: Path) -> dict[str, Any] | None:
    """Return the content of a record; None where it is damaged, or of an earlier version of mgral."""
    try:
        record: dict[str, Any] = json.loads(record_file.read_bytes())
        complete = all(isinstance(record[key], kind) for key, kind in RECORDED.items())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if complete else None


def _note(path: Path, digest: str, record: dict[str, Any] | None) -> None:
    """Note the digest of a file that was read, with a warning where its record has another."""
    if record is not None and record["sha256"] != digest:
        warn(path, record["step"])
    READ[path] = digest


@functools.cache
def warn(path: Path, step: str) -> None:
    """Report on standard error that an artefact was altered since a step wrote it; once in a process."""
    print(
        f"mgral: warning: {path} was altered since step `{step}` wrote it, and is used as it is; "
        f"see: {program()} verify {experiment_folder(path)}",
        file=sys.stderr,
    )
