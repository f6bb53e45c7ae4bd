"""What the Snakefile needs to know of a configuration before there are jobs."""

import hashlib
import json
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml

from mgral.artefacts.files import write_bytes
from mgral.config import (
    CocoData,
    Config,
    Kind,
    LutConfig,
    ProjectData,
    SyntheticData,
    VocData,
    YoloData,
    config_yaml,
    detectors,
    download_of,
    read_values,
    registry,
    resolve_config,
)
from mgral.config.data import FolderData
from mgral.config.detectors import package_of
from mgral.data.download.archives import DATA_SETS
from mgral.data.formats.project import chunk_path, complete, project_folder, snapshot_of
from mgral.data.formats.voc import layout_folder, list_file
from mgral.data.pictures import SETTINGS, picture_folders
from mgral.engine.configfiles import check_configfiles
from mgral.engine.installed import SNAKEMAKE
from mgral.engine.steps import STEPS, VERSIONS
from mgral.errors import InputError
from mgral.models.detectors.timm import PACKAGED, TimmConfig, backbone_fault


def configure(files: Sequence[Path], overrides: Mapping[str, Any]) -> Config:
    """Return the experiment that these configuration files and values on top of them describe.

    Parameters
    ----------
    files
        What follows `--configfile`; a later file overrides an earlier one.
    overrides
        What follows `--config`, on top of the files: nested values are merged key by key, except that a `data`
        section that names a format, or a `detector` section that names a detector, replaces the complete section, as
        the keys of another one mean nothing to it.

    Raises
    ------
    InputError
        For an invalid configuration.
    """
    check_configfiles(files)
    values: dict[str, Any] = {}
    for path in files:
        values = _merge(values, read_values(path))
    typed = _typed(overrides)
    for section, key in (("data", "format"), ("detector", "name")):
        if isinstance(typed.get(section), dict) and key in typed[section]:
            values.pop(section, None)
    return resolve_config(_merge(values, typed))


def data_warning(config: Config) -> str:
    """Return what a person should know of a configuration that names no data; empty for others."""
    if "data" in config.model_fields_set:
        return ""
    return (
        "The configuration has no section `data`, so synthetic images are drawn. For your own name them: "
        "data: {format: coco, root: FOLDER}, or voc or yolo"
    )


def config_options(files: Sequence[Path], overrides: Mapping[str, Any]) -> str:
    """Return the options with which `mgral config` makes the same configuration."""
    here = Path.cwd()
    options = []
    for path in files:
        options += ["--configfile", str(path.relative_to(here) if path.is_relative_to(here) else path)]
    if overrides:
        options += ["--values", json.dumps(overrides, sort_keys=True)]
    return shlex.join(options)


def snakemake_command(files: Sequence[Path], overrides: Mapping[str, Any], targets: Iterable[str]) -> str:
    """Return the command by which a person runs the same experiment, in the same folder."""
    words = [*SNAKEMAKE.split(), "--cores", "all", *sorted(targets)]
    names = [str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path.name) for path in files]
    if names != ["params.yaml"]:
        words += ["--configfile", *names]
    if overrides:
        words += ["--config", *(f"{key}={_plain(value)}" for key, value in overrides.items())]
    return shlex.join(words)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_typed(value))


def refresh_config(config: Config, path: Path) -> None:
    """Bring an existing config.yaml up to date; a missing one is left to the rule that makes it."""
    if path.exists() and path.read_bytes() != config_yaml(config):
        write_bytes(path, config_yaml(config))


Names = Mapping[str, str]
"""Those wildcards of a job, or options of a step, that decide whose settings it has.

- strategy: an instance of the configuration
- table, reward, embedding: settings that instances share, by their name (`Config.name_of`)
- type: the registered strategy whose head it is
- round: initial, full or strategies/NAME
"""


def with_names(config: Config, names: Names) -> Config:
    """Return the configuration with the settings that a job's names stand for."""
    if "strategy" in names:
        config = config.for_strategy(names["strategy"])
    for kind in get_args(Kind):
        if kind in names:
            config = config.with_settings(kind, names[kind])
    return config


def depends_on(config: Config, step: str, names: Names | None = None) -> str:
    """Return the settings that a job's outputs depend on, as JSON; Snakemake runs the job again when it changes.

    With them the version of the step and, of what a plug-in brings, its package with version and code.

    Parameters
    ----------
    config
        The experiment.
    names
        Those of the job.
    """
    names = names or {}
    own = with_names(config, names)
    keys = keys_read(config, step, names)
    settings = {"step_version": VERSIONS[step]} | {key: _setting(own, key) for key in keys}
    trains = not {"detector", "detector.proxy"}.isdisjoint(keys)
    packages = [package_of(detectors.GROUP, config.detector.trained.name)] if trains else []
    if step == "select":
        settings["type"] = config.strategies[names["strategy"]].type
        packages.append(package_of(registry.GROUP, settings["type"]))
    if "type" in names:  # of a head
        packages.append(package_of(registry.GROUP, names["type"]))
    if plug_ins := [package for package in packages if package]:
        settings["plug_ins"] = plug_ins
    return json.dumps(settings, sort_keys=True)


def keys_read(config: Config, step: str, names: Names | None = None) -> list[str]:
    """Return the sections, or single keys of them, that a job's outputs depend on.

    They are those in `STEPS[step].reads`, less what a job with these names never uses.
    """
    names = names or {}
    if step == "report":
        return list(config.model_dump())
    left_out = {
        "data.mirror" if isinstance(config.data, FolderData) else "",  # the same bytes from elsewhere
        "lut.refresh",  # where a table is built, not how
        "lut.splits",  # how many tables
        "lut.variants_per_job",  # changes what a job is, and with it the files' names
        "initial" if step == "initial" and names.get("round") == "full" else "",
    }
    if step == "select":
        info = registry.strategy(config.strategies[names["strategy"]].type)
        left_out |= set() if info.runs_detector else {"detector", "evaluation"}
        left_out |= set() if info.needs_tables else {"embedding"}
        left_out |= set() if "tables" in info.requires else {"reward"}
    keys = []
    of_detector = ["detector"]
    if config.detector.command_gives is not None:  # what the other steps train, or show images to, is its proxy
        own = [f"detector.{name}" for name in ("command", "container", "gives")]
        of_detector = own if step == "external" else ["detector.proxy"]
    for key in STEPS[step].reads:
        if any(other.startswith(key + ".") for other in left_out):
            keys += [f"{key}.{name}" for name in _setting(config, key) if f"{key}.{name}" not in left_out]
        elif key not in left_out:
            keys += of_detector if key == "detector" else [key]
    return keys


def keys_in_file(config: Config, step: str, names: Names) -> list[str]:
    """Return the keys of config.yaml that a job's outputs depend on.

    They are those that it reads and, where an instance has settings of its own, that instance's sections.
    """
    keys = keys_read(config, step, names)
    owners = {names.get("strategy")}
    owners |= {config.owner_of(kind, names[kind]) for kind in get_args(Kind) if kind in names}
    written = config.model_dump(mode="json")["strategies"]
    sections = {key.split(".")[0] for key in keys} | ({"type"} if step == "select" else set())
    for owner in sorted(owner for owner in owners if owner):
        keys += [f"strategies.{owner}.{name}" for name in written[owner] if name in sections]
    return keys


def variant_jobs(lut: LutConfig) -> list[tuple[int, int]]:
    """Return the first and the last variant of each job, of the variants 0..K."""
    size = lut.variants_per_job
    return [(first, min(first + size - 1, lut.variants)) for first in range(0, lut.variants + 1, size)]


def _setting(config: Config, key: str) -> Any:
    """Return the value of a section, or of `section.key`, as plain data."""
    values: Any = config.model_dump(mode="json")
    for name in key.split("."):
        values = values[name]
    return values


def annotation_files(config: Config) -> list[str]:
    """Return the files of a data set on disk that name its images.

    They are two COCO JSON, VOC's lists, a data.yaml, or a round's snapshot with the lists of its pictures.
    """
    data = config.data
    if isinstance(data, CocoData):
        return [f"{data.root}/{name}" for name in (data.train_annotations, data.test_annotations)]
    if isinstance(data, VocData):
        return [str(list_file(Path(data.root), split)) for split in (*data.train_split, *data.test_split)]
    if isinstance(data, YoloData):
        return [f"{data.root}/{data.data_yaml}"]
    if isinstance(data, ProjectData):
        return [data.snapshot, *(str(chunk_path(data, digest)) for digest in snapshot_of(data).chunks)]
    return []


class RoundData(NamedTuple):
    """What the rules need to know of a round of a project before there are jobs."""

    chunks: tuple[str, ...]
    """Digests of the chunks of its pictures."""
    labelled: bool
    """Whether an image is labelled; else there is no detector."""
    audit: bool
    """Whether an image of the audit set is, so that there are scores."""
    controls: int
    """Images of its batch that are drawn at random."""


def round_data(config: Config) -> RoundData | None:
    """Return what the snapshot of a round contains; None for a benchmark."""
    if not isinstance(config.data, ProjectData):
        return None
    snapshot = snapshot_of(config.data)
    labelled, audit = complete(snapshot.labelled), complete(snapshot.audit)
    return RoundData(snapshot.chunks, bool(labelled), bool(audit), snapshot.controls)


def label_folders(config: Config) -> list[str]:
    """Return the folders of a data set on disk whose files the step `data` lists: of YOLO its pictures too."""
    data = config.data
    if isinstance(data, YoloData):
        return [data.root]
    if not isinstance(data, VocData):
        return []
    layouts = {layout_folder(Path(data.root), split): None for split in (*data.train_split, *data.test_split)}
    return [str(layout / "Annotations") for layout in layouts]


def label_state(config: Config) -> str:
    """Return a text that changes with any file in `label_folders`, by names, sizes and times of change.

    A parameter of the rule that reads them, as Snakemake does not look into folders. Data sets that are downloaded
    do not change.
    """
    if downloads(config):
        return ""
    state = hashlib.sha256()
    for folder in label_folders(config):
        for path in _files_below(Path(folder)):
            status = path.stat()
            state.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return state.hexdigest() if label_folders(config) else ""


def _files_below(folder: Path) -> list[Path]:
    """Return all files in a folder, sorted; linked folders are followed, each once."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [path for name in files if (path := Path(place, name)).is_file()]
    return sorted(found)


def downloads(config: Config) -> bool:
    """Return whether the data set is downloaded, unless it is there already."""
    return download_of(config.data) is not None


def check_files(config: Config) -> None:
    """Raise InputError that names all that is missing: files of the data set, packages and weights."""
    faults = []
    for check in (check_data, check_detector):
        try:
            check(config)
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))


def check_data(config: Config) -> None:
    """Raise InputError where a file or folder of the data set is missing, or will be after its download."""
    data = config.data
    if isinstance(data, SyntheticData):
        return
    if isinstance(data, ProjectData):
        _check_round(config, data)
        return
    if isinstance(data, CocoData):
        folders = [data.root, f"{data.root}/{data.train_images}", f"{data.root}/{data.test_images}"]
    elif isinstance(data, YoloData):
        folders = [data.root]
    else:
        labels = label_folders(config)
        folders = [data.root, *labels, *(str(Path(folder).with_name("JPEGImages")) for folder in labels)]
    for path in (*folders, *annotation_files(config)):
        if has_braces(path):
            raise InputError(
                f"data: Snakemake takes the braces in {path} for wildcards; rename the file or its folder"
            )
    download = download_of(data)
    if download is not None:
        made = [Path(data.root, path) for path in _paths_made(download)]
        for asked in map(Path, [*folders, *annotation_files(config)]):
            if asked not in made:
                raise InputError(
                    f"data: data.download: {download} makes no {asked}, but {', '.join(map(str, made[1:]))}; "
                    "correct the annotations, the images' folder or the split under data"
                )
        return
    for folder in folders:
        if not Path(folder).is_dir():
            raise InputError(
                f"data: there is no folder {folder}; correct data.root (a relative path starts at the working "
                f"directory) or the folder's name, or choose another data.format than {data.format}"
            )
    for file in annotation_files(config):
        if not Path(file).is_file():
            raise InputError(f"data: there is no file {file}; correct the annotations or the split under data")


def _check_round(config: Config, data: ProjectData) -> None:
    """Raise InputError where a round has no input size, a file is missing, or its strategy lacks labels."""
    if "width" in config.detector.open_keys:
        raise InputError("detector.width: is null, and all rounds of a project need one input size; set it")
    missing = [file for file in annotation_files(config) if not Path(file).is_file()]
    if missing:
        raise InputError(f"data: there is no file {', '.join(missing)}; restore it from a copy or from Git")
    folders = picture_folders(project_folder(data))
    if absent := [f"{name} ({folder})" for name, folder in folders.items() if not folder.is_dir()]:
        raise InputError(
            f"{SETTINGS}: there is no folder {', '.join(absent)}; correct it there, or bring the folder back"
        )
    found = round_data(config)
    needing = [
        name
        for name, own in config.strategies.items()
        if not {*registry.strategy(own.type).requires} <= {"embeddings", "groups"}
    ]
    if found and not found.labelled and needing:
        raise InputError(
            f"strategies: {', '.join(needing)} needs labelled images, and the round has none yet; use typiclust or "
            "random"
        )


def has_braces(path: str | Path) -> bool:
    """Return whether a path has braces, which no escape hides from Snakemake in the name of a job's input."""
    return not {"{", "}"}.isdisjoint(str(path))


def check_detector(config: Config) -> None:
    """Raise InputError where a package, a backbone or a file of weights that the detector needs is missing."""
    detector, faults = config.detector.trained, []
    if isinstance(detector, TimmConfig) and detector.backbone != PACKAGED:
        fault = backbone_fault(detector.backbone)
        faults += [fault] if fault else []
    if detector.package is not None and find_spec(detector.package) is None:
        faults.append(
            f"detector.name: {detector.name} needs the package {detector.package}, which is not installed; "
            f"install it beside mgral (docs/install.md)"
        )
    if detector.weights_file is not None and has_braces(detector.weights_file):
        faults.append(
            f"detector.weights: Snakemake takes the braces in {detector.weights_file} for wildcards; rename the "
            "file or its folder"
        )
    elif detector.weights_file is not None and not Path(detector.weights_file).is_file():
        faults.append(
            f"detector.weights: there is no file {detector.weights_file}; correct it (a relative path starts at the "
            "working directory), or write null for random weights"
        )
    if faults:
        raise InputError("\n".join(faults))


def _paths_made(name: str) -> list[Path]:
    """The folder of a public data set, and what is known to be in it, relative to it."""
    known = [Path(folder.name, entry) for folder in DATA_SETS[name] for entry in (".", *folder.entries)]
    return list(dict.fromkeys([Path(), *known]))


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _typed(value: Any) -> Any:
    """Snakemake hands on the values inside of `--config "section={key: value}"` as text: give them their types."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if not isinstance(value, str):
        return value
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return yaml.safe_load(value)
