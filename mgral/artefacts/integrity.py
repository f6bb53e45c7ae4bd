"""Checks when an artefact is read that it is what its step wrote, by the record that the step left."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from mgral.errors import InputError

CONFIG = "config.yaml"
"""Lies in an experiment's folder, and is how that is found. It is kept up to date, so it has no record itself."""
RECORDS = "provenance"
"""Folder of the records, in the experiment's."""
LARGE = 2**28
"""Bytes from which a file that still has the recorded size and time of change is validated without reading it."""

READ: dict[Path, str] = {}
"""SHA-256 of each file that this process read."""
WRITTEN: set[Path] = set()
"""Files that this process wrote."""


def experiment_folder(path: Path) -> Path | None:
    """Return the folder of the experiment that a file belongs to, if it belongs to one."""
    return next((folder for folder in path.parents if (folder / CONFIG).is_file()), None)


def record_path(path: Path) -> Path | None:
    """Return where the record of an artefact is, if it may have one."""
    folder = experiment_folder(path)
    if folder is None or path.name == CONFIG:
        return None
    return folder / RECORDS / path.parent.relative_to(folder) / f"{path.name}.json"


def read_verified(path: Path) -> bytes:
    """Read a file; raises OSError, or InputError where it is not what its step wrote."""
    content = path.read_bytes()
    _hold_against_record(path, hashlib.sha256(content).hexdigest(), load_record(path))
    return content


def verify_file(path: Path) -> None:
    """Check a file that is to be mapped into memory; raises as `read_verified` does."""
    status, record = path.stat(), load_record(path)
    unchanged = record is not None and (record["bytes"], record["modified_ns"]) == (
        status.st_size,
        status.st_mtime_ns,
    )
    if record is not None and unchanged and status.st_size >= LARGE:
        READ[path] = record["sha256"]
    else:
        _hold_against_record(path, file_hash(path), record)


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
    """Return the record of an artefact, if it has one; raises InputError where that is damaged."""
    place = record_path(path)
    if place is None or not place.exists():
        return None
    try:
        record: dict[str, Any] = json.loads(place.read_bytes())
        return {key: record[key] for key in ("step", "sha256", "bytes", "modified_ns")} | record
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{place} is damaged; delete it and {path}, and run again") from None


def _hold_against_record(path: Path, digest: str, record: dict[str, Any] | None) -> None:
    if record is not None and record["sha256"] != digest and not _locked_by_dvc(path):
        raise InputError(
            f"{path} is not what step `{record['step']}` wrote: it was altered or replaced since. Delete it and run "
            f"again; or, if it is the file you want, delete its record {record_path(path)}"
        )
    READ[path] = digest


def _locked_by_dvc(path: Path) -> bool:
    """DVC brings back what other runs, or other people, made; then dvc.lock, not our record, knows the file."""
    lock = Path("dvc.lock")
    if not lock.exists():
        return False
    stages = yaml.load(lock.read_text(), Loader=yaml.CSafeLoader).get("stages", {})
    with path.open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    outputs = (out for stage in stages.values() for out in stage.get("outs", ()))
    return any(Path(out["path"]) == path and out.get("md5") == md5 for out in outputs)
