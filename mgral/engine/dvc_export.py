"""The jobs of the Snakemake workflow as the stages of a dvc.yaml, so that both engines do the same."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mgral.config import Config, ProjectData, load_config, unit_of
from mgral.engine.ownership import MARK
from mgral.engine.plan import PlannedJob, plan_all
from mgral.engine.workflow import keys_in_file
from mgral.errors import InputError
from mgral.evaluation.coco import CURVE_SCORES

HEADER = """\
# Made from the Snakefile; do not edit, but run: make dvc
# which is: mgral dvc --configfile {configfile} --output dvc.yaml
"""
PROJECT_HEADER = """\
# Made of the rounds of this project; do not edit, but run: mgral dvc {rounds} --output dvc.yaml
"""
CONFIG = "config.yaml"
METRICS = "metrics.json"
VERSIONS = "mgral/engine/versions.yaml"
KEPT = ("config", "report")
"""Rules whose old outputs stay until they are replaced: DVC deletes those of the others before it runs a stage.

A finished report outlives an attempt to renew it. `config` refuses to go on where Snakemake made the results."""


def dvc_yaml(configfile: Path) -> bytes:
    """Return the dvc.yaml of a configuration file: a stage for each job, and a plot of all curves for each score."""
    config = load_config(configfile)
    stages = {stage_name(job): _stage(job, config, configfile) for job in sorted(plan_all(configfile), key=_sort_key)}
    text = yaml.safe_dump({"stages": stages, "plots": _plots(config)}, sort_keys=False, width=10_000)
    return (HEADER.format(configfile=configfile) + text).encode()


def project_yaml(configfiles: Sequence[Path]) -> bytes:
    """Return the dvc.yaml of rounds of a project: a stage for each job of each, and what they share once.

    Versions of steps are no dependencies: a project's folder does not contain them, and its rounds are done.

    Raises
    ------
    InputError
        Where one of the configurations is of no round, or is refused.
    """
    stages: dict[str, Any] = {}
    for configfile in configfiles:
        config = load_config(configfile)
        if not isinstance(config.data, ProjectData):
            raise InputError(f"{configfile}: is no round of a project (data.format); leave out --round for others")
        for job in sorted(plan_all(configfile), key=_sort_key):
            shared = "experiment" not in job.wildcards
            name = stage_name(job) if shared else f"{config.experiment}-{stage_name(job)}"
            stages.setdefault(name, _stage(job, config, configfile, versions=False))
    header = PROJECT_HEADER.format(rounds=" ".join(f"--round {path}" for path in configfiles))
    return (header + yaml.safe_dump({"stages": stages}, sort_keys=False, width=10_000)).encode()


def stage_name(job: PlannedJob) -> str:
    """Return the rule and its wildcards, of letters, digits, `_` and `-`, as DVC wants the name of a stage.

    The experiment is left out. No two jobs of one share a name: their wildcards come in one order.
    """
    parts = [f"{name}-{value}" for name, value in job.wildcards.items() if name != "experiment"]
    return "-".join([job.rule, *parts]).replace("/", "-")


def _stage(job: PlannedJob, config: Config, configfile: Path, versions: bool = True) -> dict[str, Any]:
    resolved = f"results/{config.experiment}/{CONFIG}"
    keys = keys_in_file(config, job.rule, job.wildcards)
    params: list[dict[str, Any]] = [{VERSIONS: [job.rule]}] if versions else []
    if job.rule == "config":
        params.append({str(configfile): None})
    elif keys:
        # Read from the resolved file, which stage `config` makes: an edge between the two, as narrow as the keys.
        params.append({resolved: keys})
    # Without its log, because DVC makes no folder for it.
    command = job.command_without_log
    # A stage is planned without a GPU, and so takes none of a card's memory.
    command = re.sub(r" --vram-mb \d+", "", command)
    stage: dict[str, Any] = {"cmd": command, **({"params": params} if params else {})}
    dependencies = sorted(set(job.inputs) - {resolved})
    if dependencies:
        stage["deps"] = dependencies
    metrics = [path for path in job.outputs if Path(path).name == METRICS]
    outs = [path for path in job.outputs if path not in metrics]
    if job.rule == "config":
        outs.append(str(Path(resolved).with_name(MARK)))
    stage["outs"] = [{path: {"persist": True}} for path in outs] if job.rule in KEPT else outs
    if metrics:
        stage["metrics"] = metrics
    return stage


def _sort_key(job: PlannedJob) -> list[str | int]:
    """Return the sort key of a job: numbers in its name count as numbers, so that variant 10 follows variant 9."""
    parts = re.split(r"(\d+)", stage_name(job))
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _plots(config: Config) -> list[dict[str, Any]]:
    folder, unit = f"results/{config.experiment}/tables/curves", unit_of(config.budget)
    return [
        {
            f"{title} against labelled {unit}": {
                "x": unit,
                "y": {f"{folder}/{strategy}.csv": score for strategy in config.strategies},
                "x_label": f"labelled {unit}",
                "y_label": title,
            }
        }
        for score, title in CURVE_SCORES.items()
    ]
