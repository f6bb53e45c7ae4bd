"""What made each artefact, for people and `mgral verify`: provenance/<artefact>.json in the experiment's folder."""

import functools
import json
import os
import platform
import re
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

from threadpoolctl import threadpool_info

from mgral.artefacts import integrity
from mgral.artefacts.commit import commit
from mgral.artefacts.files import write_json
from mgral.compute.gpus import find_cards, only_cpu
from mgral.config import Config, SharedArtefact, load_config, registry
from mgral.engine.ownership import check_stage
from mgral.engine.pins import installed_version
from mgral.engine.steps import VERSIONS
from mgral.engine.workflow import depends_on
from mgral.errors import InputError

LISTED = 100
"""Input files of one folder from which they are recorded as one hash."""


def recorded(step: str, callback: Callable[..., None]) -> Callable[..., None]:
    """Return a step's callback that afterwards records each file or folder which it wrote and an option names."""

    @functools.wraps(callback)
    def run(**arguments: Any) -> None:
        paths = list(_paths(arguments.values()))
        check_stage(paths)
        integrity.READ.clear()
        integrity.WRITTEN.clear()
        integrity.NOTES.clear()
        started = perf_counter()
        callback(**arguments)
        cost = _cost(started)
        record_paths = {
            path: integrity.record_path(path) for path in paths if path in integrity.WRITTEN and path.exists()
        }
        records = {path: record_path for path, record_path in record_paths.items() if record_path is not None}
        common = _common_record(step, arguments) if records else {}
        for path, record_path in records.items():
            write_json(record_path, _file_record(path) | common | cost)

    return run


_EARLIER: list[float] = [0.0]
"""Processor seconds that this process took for other steps."""


def begin_anew() -> None:
    """Let the costs of a further step in this process, on Linux, be its own, and its warnings too."""
    integrity.warn.cache_clear()
    _EARLIER[0] = _processor_seconds()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak of memory begins again


def _processor_seconds() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in _resource_usages())


def _resource_usages() -> list[resource.struct_rusage]:
    """Return what this process has used, and what its ended children have."""
    return [resource.getrusage(process) for process in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _cost(started: float) -> dict[str, float]:
    """Return what this process and its ended children took since a time of `perf_counter`."""
    usages = _resource_usages()
    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kB elsewhere
    return {
        "wall_seconds": round(perf_counter() - started, 3),
        "processor_seconds": round(_processor_seconds() - _EARLIER[0], 3),
        "peak_memory_mb": round(max(usage.ru_maxrss for usage in usages) / unit, 1),
    }


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    """Yield the paths among arguments; an option that may be repeated has several."""
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, tuple):
            yield from _paths(value)


def _file_record(path: Path) -> dict[str, Any]:
    """Return what the record of an output has of its own: hash, size, and the experiment's folder."""
    return {
        "sha256": integrity.content_hash(path),
        "bytes": sum(file.stat().st_size for file in integrity.files_of(path)),
        "folder": str(integrity.experiment_folder(path)),
    }


def _common_record(step: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the records of all outputs of a job have in common."""
    path = arguments.get("config_path")
    return {
        "step": step,
        "arguments": {name: _as_json(value) for name, value in arguments.items() if value is not None},
        "settings": settings_read(step, arguments, load_config(path) if path else None),
        "inputs": dict(_inputs()),
        "commit": commit(),
        "packages": packages(),
        "machine": machine(arguments.get("gpus", 0)),
        **integrity.NOTES,
    }


def _as_json(value: Any) -> Any:
    """Return an argument as JSON can have it: paths as text, tuples as lists."""
    if isinstance(value, tuple):
        return [_as_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def settings_read(step: str, arguments: Mapping[str, Any], config: Config | None) -> Any:
    """Return what a job reads of a configuration, if it reads one, and the version of its step.

    Raises
    ------
    InputError
        Where the configuration has nothing by the names in the arguments.
    """
    if config is None:
        return {"step_version": VERSIONS[step]}
    return json.loads(depends_on(config, step, _names(arguments)))


def _names(arguments: Mapping[str, Any]) -> dict[str, str]:
    """Return the names by which a job has settings of its own; the step `initial` has none for all images."""
    names = {
        name: arguments[name]
        for name in ("strategy", *get_args(SharedArtefact))
        if isinstance(arguments.get(name), str)
    }
    names |= {"type": arguments["strategy_type"]} if "strategy_type" in arguments else {}
    return names | ({"round": "full"} if arguments.get("label_all") else {})


def _inputs() -> Iterator[tuple[str, str]]:
    """Yield the path and the hash of each file that the step read.

    Of a folder of which it read `LISTED` files or more, yield one entry: their number, and one hash of their hashes.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in sorted(integrity.READ):
        folders[path.parent].append(path)
    for folder, paths in folders.items():
        if len(paths) < LISTED:
            yield from ((str(path), integrity.READ[path]) for path in paths)
        else:
            lines = "".join(f"{integrity.READ[path]}  {path.name}\n" for path in paths)
            yield f"{folder}: {len(paths)} files", sha256(lines.encode()).hexdigest()


def version() -> str:
    """Return, a line each, mgral's version, its commit, the plug-ins beside it, and the versions of the steps."""
    lines = [f"mgral {metadata.version('mgral')}", f"commit {commit()}"]
    lines += [f"plug-in {name} {plug_in_version}" for name, plug_in_version in registry.plug_ins().items()]
    return "\n".join([*lines, f"steps: {', '.join(f'{step} {number}' for step, number in VERSIONS.items())}"])


@functools.cache
def packages() -> dict[str, str]:
    """Return the versions of mgral, of plug-ins, and of the installed packages that mgral names as its own.

    What a step does not import may be missing, as where somebody installs without dependencies.
    """
    required = [requirement for requirement in metadata.requires("mgral") or [] if "extra ==" not in requirement]
    names = ["mgral", *(re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in required)]
    return {name: release for name in names if (release := installed_version(name))} | registry.plug_ins()


def machine(gpus: int) -> dict[str, str]:
    """Return what may change the last bits of a result, from Python to the GPU and the container's image."""
    torch = sys.modules.get("torch")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "vector_instructions": _vector_instructions(torch) if torch else "not used",
        "blas": _blas(),
        "threads": str(torch.get_num_threads()) if torch else "1",
        "container": Path(os.environ.get("APPTAINER_CONTAINER", "none")).name,
        "gpu": _gpu(torch) if gpus and not only_cpu() else "not used",
    }


def _gpu(torch: Any) -> str:
    """Return the model of the first GPU of a step; the step `external` does without torch, its command may not."""
    if torch:
        return str(torch.cuda.get_device_name())
    try:
        return find_cards()[0].model
    except InputError:
        return "unknown"


def _blas() -> str:
    """Return the kernels of NumPy's and SciPy's linear algebra, which OPENBLAS_CORETYPE can choose."""
    kernels = {library["architecture"] for library in threadpool_info() if library["internal_api"] == "openblas"}
    return f"OpenBLAS {', '.join(sorted(kernels))}" if kernels else "not used"


def _vector_instructions(torch: Any) -> str:
    """Return what float32 uses, and the instructions by which `training.precision: auto` becomes bfloat16."""
    instructions: str = torch.backends.cpu.get_cpu_capability()
    return f"{instructions}, AVX512_BF16" if torch.cpu.get_capabilities().get("avx512_bf16") else instructions
