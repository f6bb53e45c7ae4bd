"""The jobs of the Snakemake workflow as the stages of a dvc.yaml, so that both engines do the same."""

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mgral.config import Config, load_config
from mgral.engine.workflow import keys_read
from mgral.errors import InputError, StepError
from mgral.evaluation.coco import CURVE_SCORES

HEADER = """\
# Made from the Snakefile; do not edit, but run: make mirror
# which is: mgral dvc --configfile {configfile} --output dvc.yaml
"""
CONFIG = "config.yaml"
METRICS = "metrics.json"


@dataclass(frozen=True)
class Job:
    """A job as Snakemake plans it."""

    rule: str
    name: str
    """The name of its log: the wildcards, or the rule where it has none."""
    command: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def workflow_jobs(configfile: Path) -> list[Job]:
    """Return every job that Snakemake would run for a configuration from nothing, in no particular order.

    Raises
    ------
    InputError
        Where Snakemake refuses the configuration, with its message.
    """
    announced = run_snakemake(configfile, "--dry-run", "--forceall", "--printshellcmds")
    blocks = re.split(r"^(?:local)?rule ", announced, flags=re.MULTILINE)[1:]
    return [_job(block) for block in blocks if not block.startswith("all:")]


def run_snakemake(configfile: Path, *options: str) -> str:
    """Return what Snakemake prints with these options; raises InputError where it refuses the configuration."""
    command = [sys.executable, "-m", "snakemake", "--quiet", "host", "--configfile", str(configfile)]
    done = subprocess.run([*command, *options], text=True, capture_output=True, check=False)
    if done.returncode == 2:
        raise InputError(done.stderr.rpartition("mgral: ")[2].strip())
    if done.returncode:
        raise StepError(f"snakemake {options[0]} failed:\n{done.stderr.strip()}")
    return done.stdout


def _job(block: str) -> Job:
    """Read what a dry run announces of a job."""
    fields = dict(re.findall(r"^    (\w+): (.*)$", block, flags=re.MULTILINE))
    inputs, outputs = (tuple(fields[kind].split(", ")) if kind in fields else () for kind in ("input", "output"))
    command = block.partition("\nShell command: ")[2].partition("\n")[0]
    return Job(block.partition(":")[0], Path(fields["log"]).stem, command, inputs, tuple(sorted(outputs)))


def dvc_yaml(configfile: Path) -> bytes:
    """Return the dvc.yaml of a configuration file: a stage a job, and a plot of all strategies' curves a score."""
    config = load_config(configfile)
    jobs = sorted(workflow_jobs(configfile), key=_place)
    stages = {_stage_name(job): _stage(job, config, configfile) for job in jobs}
    document = {"stages": stages, "plots": _plots(config)}
    text = yaml.safe_dump(document, sort_keys=False, width=10_000)
    return (HEADER.format(configfile=configfile) + text).encode()


def _stage(job: Job, config: Config, configfile: Path) -> dict[str, Any]:
    resolved = f"results/{config.experiment}/{CONFIG}"
    keys = keys_read(config, job.rule, _strategy(job))
    params: list[dict[str, Any]] = []
    if job.rule == "config":
        params = [{str(configfile): None}]
    elif keys:
        # Read from the resolved file, which stage `config` makes: an edge between the two, as narrow as the keys.
        params = [{resolved: keys}]
    stage: dict[str, Any] = {"cmd": without_log(job.command)}
    if params:
        stage["params"] = params
    dependencies = sorted(set(job.inputs) - {resolved})
    if dependencies:
        stage["deps"] = dependencies
    metrics = [path for path in job.outputs if Path(path).name == METRICS]
    stage["outs"] = [path for path in job.outputs if path not in metrics]
    if metrics:
        stage["metrics"] = metrics
    return stage


def _stage_name(job: Job) -> str:
    return job.rule if job.name == job.rule else f"{job.rule}-{job.name}"


def without_log(command: str) -> str:
    """DVC makes no folder for a log; and as dvc.lock keeps one of two blanks, the stage would never be up to date."""
    return " ".join(re.sub(r" 2>>? \S+\.log\b", "", command).split())


def _strategy(job: Job) -> str | None:
    found = re.match(r"seed-?\d+_([a-z_]+?)(?:_cycle|$)", job.name)
    return found[1] if found else None


def _place(job: Job) -> list[str | int]:
    """By the numbers in its name, so that variant 10 follows variant 9."""
    parts: Iterable[str] = re.split(r"(\d+)", _stage_name(job))
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _plots(config: Config) -> list[dict[str, Any]]:
    table = f"results/{config.experiment}/tables/curves.csv"
    return [
        {
            f"{title} against labelled images": {
                "x": "images",
                "y": {table: [f"{strategy}_{score}" for strategy in config.strategies]},
                "x_label": "labelled images",
                "y_label": title,
            }
        }
        for score, title in CURVE_SCORES.items()
    ]
