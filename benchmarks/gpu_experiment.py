"""Benchmark `gpu_experiment`: a whole experiment on a card, from plan to report, beside trainings alone."""

import math
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.gpu import TRIAL, Book, write_data
from benchmarks.gpu_ways import WEIGHTS, Setting
from benchmarks.gpu_workers import card_facts, mps_server, started, watched
from benchmarks.machine import machine
from mgral.artefacts.files import read_csv, write_json
from mgral.config import Config
from mgral.engine.cost import find_sizes, plan_experiment, plan_work
from mgral.engine.run import run_snakemake
from mgral.engine.workflow import configure

EXPERIMENT = "card"
TABLE = "timings/costs_by_step.csv"
IMAGES, TEST_IMAGES = 400, 128


@click.command("gpu_experiment")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("gpu_experiment.json"))
@click.option("--cores", type=click.IntRange(min=1), default=16, help="Jobs of the experiment side by side.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, help="Of each measurement of trainings alone.")
@click.option("--cpu", is_flag=True, help="Everything in small, on the CPU: a check of this script, no measurement.")
def command(output: Path, cores: int, seconds: float, cpu: bool) -> None:
    """Measure the images a second of a whole experiment, and its ratio to trainings that do nothing else.

    The detector is that of `benchmarks gpu`. Images are those of all training batches, and seconds those from
    Snakemake's start to the report. The experiment runs under MPS, if that can be started, and then once more
    without it. Each result is printed, and written to the JSON, as soon as it is known.

    Needs the wheels of `benchmarks gpu`, one of this package, and those of Snakemake, 28 MB together: its five
    interfaces, argparse-dataclass, conda-inject, configargparse, connection-pool, docutils, dpath, fastjsonschema,
    gitdb, gitpython, greenlet, humanfriendly, immutables, jsonschema, jsonschema-specifications, jupyter-core,
    nbformat, platformdirs, referencing, rpds-py, smart-open, smmap, sqlalchemy, sqlmodel, tenacity, throttler,
    traitlets and yte. And matplotlib, pandas, scikit-learn and what these need. Tried in an environment without
    others, with Python 3.12 and torch 2.11.
    """
    with TemporaryDirectory(prefix="mgral-gpu-") as name:
        folder = Path(name)
        setting = Setting.of(folder, cpu=cpu)
        write_data(setting, None, *((8, 4) if cpu else (IMAGES, TEST_IMAGES)))
        book = Book(output, math.inf, setting)
        several = 2 if cpu else TRIAL
        with started(several, setting.device, mps=True) as (workers, mps):
            book.note("machine", machine() | card_facts(setting.device) | {"gpu": workers.names[0], "MPS": mps})
            book.speed(workers, "plain", several, 1, 0.01 if cpu else seconds, mps)
            alone = book.speed(workers, "ours", several, 1, 0.01 if cpu else seconds, mps)
        for served in (True, False) if mps else (False,):
            with mps_server("cuda" if served else "cpu"):
                run = folder / ("with" if served else "without")
                found = _run(run, _settings(setting, small=cpu), 2 if cpu else cores, setting.device)
            found["ratio"] = found["images_per_second"] / alone if alone else None
            book.note("whole experiment" + ", MPS" * served, found)


def _settings(setting: Setting, *, small: bool) -> dict[str, Any]:
    """Return the experiment: two cycles of three strategies, with as many seeds as keep a card busy."""
    detector = setting.detector.model_dump(exclude_defaults=True)
    weights = "imagenet" if find_spec(WEIGHTS) else None
    training = setting.training(only_flips=False).model_dump(exclude_defaults=True)
    common = {
        "experiment": EXPERIMENT,
        "strategies": ["mgral_greedy", "random", "sqrt_counts"],
        "cycles": 2,
        "detector": detector | {"weights": weights},
        "training": training,
    }
    if small:
        sizes: dict[str, Any] = {
            "data": {"format": "synthetic", "train_images": 24, "test_images": 4},
            "seeds": [0],
            "initial": 6,
            "budget": 4,
            "iterations": {"detector": 3, "base": 3, "variant": 3},
            "lut": {"variants": 2, "variants_per_job": 2},
        }
    else:
        sizes = {
            "data": {"format": "synthetic", "train_images": IMAGES, "test_images": TEST_IMAGES},
            "seeds": [0, 1, 2, 3],
            "initial": 100,
            "budget": 50,
            "iterations": {"detector": 300, "base": 100, "variant": 200},
        }
    return common | sizes


def _run(folder: Path, settings: Mapping[str, Any], cores: int, device: str) -> dict[str, Any]:
    """Run an experiment to its report, and return its images a second and where its time went."""
    folder.mkdir()
    file = folder / "experiment.json"
    write_json(file, settings)
    config = configure([file], {})
    images = _images_trained(config, file)
    with watched(device) as seen:
        begun = time.perf_counter()
        run_snakemake(folder, Path(file.name), cores=str(cores))
        seconds = time.perf_counter() - begun
    found = {"images_per_second": images / seconds, "images": images, "seconds": seconds} | seen
    rows = read_csv(folder / "results" / config.experiment / TABLE)
    return found | {f"seconds_of_{row['step']}": float(row["wall_s"]) for row in rows}


def _images_trained(config: Config, file: Path) -> int:
    """Return the images of all training batches of an experiment."""
    jobs = plan_experiment([file], config, None)
    work = plan_work(config, find_sizes(config, file.parent), jobs)
    return sum(one.trained for one in work.values())
