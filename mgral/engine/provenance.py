"""What made each artefact, for a person to read: provenance/<artefact>.json in the folder of the experiment."""

import functools
import json
import os
import platform
import re
import resource
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import mgral
from mgral.artefacts import integrity
from mgral.artefacts.files import write_json
from mgral.compute.gpus import only_cpu
from mgral.config import Config, Kind, load_config, registry
from mgral.engine.workflow import depends_on
from mgral.errors import InputError

SOURCES = ("*.py", "*.jinja", "*.css")
"""Files of the package that are its code, wherever it lies."""
LISTED = 100
"""Input files of one folder from which they are recorded as one hash."""


def recorded(step: str, callback: Callable[..., None]) -> Callable[..., None]:
    """Return a step's callback that afterwards records each file or folder which it wrote and an option names."""

    @functools.wraps(callback)
    def run(**arguments: Any) -> None:
        integrity.READ.clear()
        integrity.WRITTEN.clear()
        started = perf_counter()
        callback(**arguments)
        cost = _cost(started)
        for path in _paths(arguments.values()):
            place = integrity.record_path(path)
            if path in integrity.WRITTEN and path.exists() and place is not None:
                write_json(place, _record(step, path, arguments) | cost)

    return run


def _cost(started: float) -> dict[str, float]:
    """Return what this process and its ended children took since a time of `perf_counter`."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kB elsewhere
    return {
        "wall_seconds": round(perf_counter() - started, 3),
        "processor_seconds": round(sum(one.ru_utime + one.ru_stime for one in used), 3),
        "peak_memory_mb": round(max(one.ru_maxrss for one in used) / unit, 1),
    }


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    """Yield the paths among arguments; an option that may be repeated has several."""
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, tuple):
            yield from _paths(value)


def _record(step: str, path: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
    status = path.stat()
    return {
        "step": step,
        "sha256": integrity.content_hash(path),
        "bytes": sum(file.stat().st_size for file in integrity.files_of(path)),
        "modified_ns": status.st_mtime_ns,
        "arguments": {name: _plain(value) for name, value in arguments.items() if value is not None},
        "settings": _settings(step, arguments),
        "inputs": dict(_inputs()),
        "commit": commit(),
        "packages": packages(),
        "machine": machine(arguments.get("gpus", 0)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _settings(step: str, arguments: Mapping[str, Any]) -> Any:
    """Return the part of the resolved configuration that the step reads; the whole is in config.yaml."""
    path = arguments.get("config_path")
    return json.loads(depends_on(load_config(path), step, _names(arguments))) if path else {}


def _names(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the names by which a job has settings of its own; the step `initial` has none for all images."""
    names = {name: arguments[name] for name in ("strategy", *get_args(Kind)) if isinstance(arguments.get(name), str)}
    return names | ({"round": "full"} if arguments.get("label_all") else {})


def vouched_for(path: Path, config: Config) -> bool:
    """Return whether a record says that this very file, or folder, was made with these settings."""
    record = integrity.load_record(path)
    if record is None:
        return False
    settings = json.loads(depends_on(config, record["step"], _names(record["arguments"])))
    return bool(record["settings"] == settings and record["sha256"] == integrity.content_hash(path))


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
        made = path.exists() and record["settings"] == _settings_now(record, config)
        return made and all(_is_of(one, digest) and holds(one) for one, digest in inputs.items())

    return holds(path)


def _settings_now(record: Mapping[str, Any], config: Config) -> Any:
    """Return what a step reads of the configuration; None where no strategy has settings of its names any more."""
    if "config_path" not in record["arguments"]:
        return {}
    try:
        return json.loads(depends_on(config, record["step"], _names(record["arguments"])))
    except InputError:
        return None


def _is_of(path: Path, digest: str) -> bool:
    """Return whether the record of an input, if it has one, is of the content that was read."""
    record = integrity.load_record(path)
    return record is None or bool(record["sha256"] == digest)


def _inputs() -> Iterator[tuple[str, str]]:
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(integrity.READ):
        folders[path.parent].append(path)
    for folder, paths in folders.items():
        if len(paths) < LISTED:
            yield from ((str(path), integrity.READ[path]) for path in paths)
        else:
            lines = "".join(f"{integrity.READ[path]}  {path.name}\n" for path in paths)
            yield f"{folder}: {len(paths)} files", sha256(lines.encode()).hexdigest()


@functools.cache
def commit() -> str:
    """Return the commit of the code, `-dirty` where it was changed since, or what MGRAL_COMMIT says, or "unknown"."""
    root = Path(mgral.__file__).parent.parent
    if not (root / ".git").exists():
        return os.environ.get("MGRAL_COMMIT", "unknown")
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, text=True, capture_output=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("MGRAL_COMMIT", "unknown")


def version() -> str:
    """Return mgral's version, a hash of its code, and the plug-ins that are installed with it."""
    package = Path(mgral.__file__).parent
    files = sorted(file for pattern in SOURCES for file in package.rglob(pattern))
    lines = "".join(f"{integrity.file_hash(file)}  {file.relative_to(package).as_posix()}\n" for file in files)
    parts = [f"version {metadata.version('mgral')}", f"code {sha256(lines.encode()).hexdigest()[:12]}"]
    parts += [f"plug-in {name} {found}" for name, found in registry.plug_ins().items()]
    return ", ".join(parts)


@functools.cache
def packages() -> dict[str, str]:
    """Return the versions of mgral, of the packages that it names as its own, and of plug-ins."""
    required = [text for text in metadata.requires("mgral") or [] if "extra ==" not in text]
    names = ["mgral", *(re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in required)]
    return {name: metadata.version(name) for name in names} | registry.plug_ins()


def machine(gpus: int) -> dict[str, str]:
    """Return what may change the last bits of a result, from Python to the GPU and the container's image."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "vector_instructions": torch.backends.cpu.get_cpu_capability() if torch else "not used",
        "threads": str(torch.get_num_threads()) if torch else "1",
        "container": Path(os.environ.get("APPTAINER_CONTAINER", "none")).name,
        "gpu": torch.cuda.get_device_name() if torch and gpus and not only_cpu() else "not used",
    }
