"""What the Snakefile needs to know of a configuration before there are jobs."""

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml

from mgral.artefacts.files import write_bytes
from mgral.config import (
    Config,
    LutConfig,
    SharedArtefact,
    config_yaml,
    detectors,
    read_values,
    registry,
    resolve_config,
)
from mgral.config.data import FolderData
from mgral.config.detectors import package_of
from mgral.engine.configfiles import check_configfiles
from mgral.engine.installed import SNAKEMAKE
from mgral.engine.steps import STEPS, VERSIONS
from mgral.errors import InputError


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
    cwd = Path.cwd()
    options = []
    for path in files:
        options += ["--configfile", str(path.relative_to(cwd) if path.is_relative_to(cwd) else path)]
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
        words += ["--config", *(f"{key}={_value_text(value)}" for key, value in overrides.items())]
    return shlex.join(words)


def _value_text(value: Any) -> str:
    """Return a value as it is written after `--config KEY=`."""
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
    for kind in get_args(SharedArtefact):
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
    own_config = with_names(config, names)
    keys = keys_read(config, step, names)
    settings = {"step_version": VERSIONS[step]} | {key: _setting(own_config, key) for key in keys}
    trains_detector = not {"detector", "detector.proxy"}.isdisjoint(keys)
    packages = [package_of(detectors.GROUP, config.detector.trained.name)] if trains_detector else []
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
    detector_keys = ["detector"]
    if config.detector.command_gives is not None:  # what the other steps train, or show images to, is its proxy
        command_keys = [f"detector.{name}" for name in ("command", "container", "gives")]
        detector_keys = command_keys if step == "external" else ["detector.proxy"]
    for key in STEPS[step].reads:
        if any(left_out_key.startswith(key + ".") for left_out_key in left_out):
            keys += [f"{key}.{name}" for name in _setting(config, key) if f"{key}.{name}" not in left_out]
        elif key not in left_out:
            keys += detector_keys if key == "detector" else [key]
    return keys


def keys_in_file(config: Config, step: str, names: Names) -> list[str]:
    """Return the keys of config.yaml that a job's outputs depend on.

    They are those that it reads and, where an instance has settings of its own, that instance's sections.
    """
    keys = keys_read(config, step, names)
    owners = {names.get("strategy")}
    owners |= {config.owner_of(kind, names[kind]) for kind in get_args(SharedArtefact) if kind in names}
    strategies = config.model_dump(mode="json")["strategies"]
    sections = {key.split(".")[0] for key in keys} | ({"type"} if step == "select" else set())
    for owner in sorted(owner for owner in owners if owner):
        keys += [f"strategies.{owner}.{name}" for name in strategies[owner] if name in sections]
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


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with changes on top, merged key by key."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _typed(value: Any) -> Any:
    """Return a value of `--config` whose texts, also those inside it, are read as numbers or as YAML.

    Snakemake hands on the values inside of `--config "section={key: value}"` as text.
    """
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
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        raise InputError(
            f"--config: the value {value!r} is no YAML; close its brackets, and put the setting in quotes, such as "
            '--config "seeds=[0, 1]"'
        ) from None
