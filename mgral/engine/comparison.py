"""Whether two runs of an experiment made the same artefacts."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from safetensors.numpy import load as load_safetensors

from mgral.artefacts.integrity import RECORDS, file_hash
from mgral.errors import InputError

DIFFERING = ("logs", "timings", "external", RECORDS)
"""Folders of an experiment whose contents differ from run to run: times, versions, commits, files of a command."""


class FolderComparison(NamedTuple):
    """Paths relative to the folders, in order."""

    identical: list[str]
    """The same bytes; or, of renamed files, the same content under the new names."""
    different: list[str]
    missing: list[str]
    """Paths that are in one folder only."""


@dataclass(frozen=True)
class Renamed:
    """What a later version calls by another name."""

    files: Mapping[str, str] = field(default_factory=dict)
    """Regular expressions for complete paths of the first folder, and what they are in the second; first match."""
    names: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Old and new names of JSON keys and values, CSV columns and arrays; null leaves one out.

    They stand under regular expressions for complete paths of the second folder, of which the first match counts."""
    changed: tuple[str, ...] = ()
    """Regular expressions for complete paths of either folder that are not compared."""

    def path(self, old: str) -> str:
        """Return what a path of the first folder is called in the second."""
        for pattern, new in self.files.items():
            if match := re.fullmatch(pattern, old):
                return match.expand(new)
        return old

    def names_in(self, path: str) -> Mapping[str, str | None]:
        """Return the old and new names in a file of the second folder."""
        return next((names for pattern, names in self.names.items() if re.fullmatch(pattern, path)), {})

    def leaves_out(self, path: str) -> bool:
        """Return whether a path is not compared."""
        return any(re.fullmatch(pattern, path) for pattern in self.changed)


def load_renamed(path: Path) -> Renamed:
    """Read a YAML file with the keys `files`, `names` and `changed`; raises InputError where it is not one."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Renamed(**{**values, "changed": tuple(values.get("changed", ()))})
    except (OSError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: is no list of renamed files ({error}); see docs/renamed.yaml") from None


def compare(first: Path, second: Path, renamed: Renamed | None = None) -> FolderComparison:
    """Compare the artefacts of two folders; `renamed` says what the second calls by another name."""
    renamed = renamed or Renamed()
    first_paths = {renamed.path(path): path for path in _artefact_paths(first) if not renamed.leaves_out(path)}
    second_paths = {path for path in _artefact_paths(second) if not renamed.leaves_out(path)}
    common = sorted(first_paths.keys() & second_paths)
    identical = {
        path for path in common if _same_content(first / first_paths[path], second / path, renamed.names_in(path))
    }
    return FolderComparison(
        [path for path in common if path in identical],
        [path for path in common if path not in identical],
        sorted(first_paths.keys() ^ second_paths),
    )


def _artefact_paths(folder: Path) -> Iterator[str]:
    """Yield the paths of the files that are compared, relative to the folder."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.is_file() and relative.parts[0] not in DIFFERING and not path.name.startswith("."):
            yield relative.as_posix()


def _same_content(first: Path, second: Path, names: Mapping[str, str | None]) -> bool:
    """Return whether two files have the same bytes, or the same content once the first has the new names."""
    if file_hash(first) == file_hash(second):
        return True
    return bool(names) and _content(first, names) == _content(
        second, {name: None for name, new in names.items() if new is None}
    )


def _content(path: Path, names: Mapping[str, str | None]) -> Any:
    """Return a file's content with its names replaced, exactly: numbers of a CSV as text, arrays as bytes."""
    if path.suffix == ".json":
        return _rename(json.loads(path.read_bytes()), names)
    if path.suffix == ".csv":
        return _rename(list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))), names)
    if path.suffix == ".safetensors":
        arrays = load_safetensors(path.read_bytes())
        return _rename(
            {name: (str(array.dtype), array.shape, array.tobytes()) for name, array in arrays.items()}, names
        )
    return path.read_bytes()


def _rename(value: Any, names: Mapping[str, str | None]) -> Any:
    """Return nested data with keys and texts replaced by their new names, and without keys that have none."""
    if isinstance(value, dict):
        remaining = {key: item for key, item in value.items() if names.get(key, key) is not None}
        return {names.get(key, key): _rename(item, names) for key, item in remaining.items()}
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
