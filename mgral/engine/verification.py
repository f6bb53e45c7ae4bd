"""Compares artefacts with their records: changed files, inputs and settings."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mgral.artefacts import integrity
from mgral.config import Config, load_config
from mgral.engine.provenance import settings_read
from mgral.engine.steps import STEPS
from mgral.errors import InputError


@dataclass(frozen=True)
class Fault:
    """An artefact that is not what its record says."""

    artefact: str
    """Its path in the experiment's folder."""
    problems: tuple[str, ...]
    made_by: Mapping[str, Any]
    """Step, commit, settings and inputs of its record; nothing where that is damaged."""

    def __str__(self) -> str:
        """Return the problems, and what made the artefact, a line each."""
        lines = [f"  {problem}" for problem in self.problems]
        if self.made_by:
            record, inputs = self.made_by, len(self.made_by["inputs"])
            files = f"{inputs} input{'s'[: inputs != 1]}"
            lines.append(f"  made by step `{record['step']}` at commit {record['commit']} from {files}")
        return "\n".join([self.artefact, *lines])


def verify(folder: Path) -> tuple[int, list[Fault]]:
    """Return how many artefacts of an experiment have a record, and those that are not as it says.

    What was altered or is missing comes before what was made of something else than is there now.

    All of them are read, and all inputs that the records name one by one.

    Raises
    ------
    InputError
        Where the folder is no experiment's, or has no records.
    """
    if not any((folder / name).is_file() for name in (integrity.CONFIG, integrity.CANVAS)):
        raise InputError(f"{folder} is no experiment, as there is no {integrity.CONFIG}; name a folder of results/")
    digest = functools.cache(integrity.content_hash)
    config = load_config(folder / integrity.CONFIG) if (folder / integrity.CONFIG).is_file() else None
    records = folder / integrity.RECORDS
    record_paths = sorted(records.rglob("*.json"))
    if not record_paths:
        raise InputError(f"{records} contains no records of how the artefacts were made, so nothing can be compared")
    compared = (
        _verify_artefact(folder, path.relative_to(records).with_suffix(""), config, digest) for path in record_paths
    )
    faults = [fault for fault in compared if fault.problems]
    return len(record_paths), sorted(faults, key=lambda fault: fault.problems[0].startswith("was made"))


def _verify_artefact(folder: Path, artefact: Path, config: Config | None, digest: Callable[[Path], str]) -> Fault:
    """Compare an artefact with its record; return what is wrong, a fault without problems where all is right."""
    record = integrity.parse_record(folder / integrity.RECORDS / f"{artefact}.json")
    if record is None:
        return Fault(artefact.as_posix(), ("its record is damaged, or of an earlier version of mgral",), {})
    made_by = {key: record[key] for key in ("step", "commit", "settings", "inputs")}
    return Fault(artefact.as_posix(), tuple(_problems(folder, artefact, record, config, digest)), made_by)


def _problems(
    folder: Path, artefact: Path, record: Mapping[str, Any], config: Config | None, digest: Callable[[Path], str]
) -> Iterator[str]:
    path = folder / artefact
    if not path.exists():
        yield "is missing"
    elif digest(path) != record["sha256"]:
        yield f"was altered since step `{record['step']}` wrote it"
    settings = _settings_now(record, config)
    if settings is not None and settings != record["settings"]:
        yield "was made with other settings than config.yaml has now, or by another version of its step"
    for name, expected in record["inputs"].items():
        input_path = _input_path(name, record, folder)
        if input_path.exists() and digest(input_path) != expected:
            yield f"was made from other content of {name} than the present content"


def up_to_date(path: Path, config: Config) -> bool:
    """Return whether the records say that a file was made with these settings, of files of which that is true too.

    Files without a record, as are those of the user, are taken as they are.
    """

    @functools.cache
    def holds(path: Path) -> bool:
        record = integrity.load_record(path)
        if record is None:
            return True
        inputs = {Path(name): digest for name, digest in record["inputs"].items()}
        unchanged = path.exists() and record["settings"] == _settings_now(record, config)
        return unchanged and all(
            _has_content(input_path, digest) and holds(input_path) for input_path, digest in inputs.items()
        )

    return holds(path)


def _settings_now(record: Mapping[str, Any], config: Config | None) -> Any:
    """Return what a step reads of the configuration; None where it, or its names there, are no more."""
    if record["step"] not in STEPS:
        return None
    try:
        return settings_read(
            record["step"], record["arguments"], config if "config_path" in record["arguments"] else None
        )
    except InputError:
        return None


def _input_path(name: str, record: Mapping[str, Any], folder: Path) -> Path:
    """Return where an input is now: of the experiment's own, in its folder, which may have moved since."""
    path = Path(name)
    return folder / path.relative_to(record["folder"]) if path.is_relative_to(record["folder"]) else path


def _has_content(path: Path, digest: str) -> bool:
    """Return whether the record of an input, if it has one, is of the content that was read."""
    record = integrity.load_record(path)
    return record is None or bool(record["sha256"] == digest)
