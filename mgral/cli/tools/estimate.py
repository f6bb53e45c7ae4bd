"""Command `estimate`: what an experiment will cost, without running it."""

import csv
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from mgral.cli import options
from mgral.cli.found import faults_shown
from mgral.config import BudgetConfig, Config, DetectorConfig, check_budget, images_in, in_words, load_config
from mgral.data.derive import assume_settings, load_settings
from mgral.engine.cost import (
    Sizes,
    Speeds,
    Work,
    derive_here,
    estimate_disk,
    find_sizes,
    plan_experiment,
    plan_work,
    planned_in_images,
    work_of_jobs,
)
from mgral.engine.plan import PlannedJob, plan_all
from mgral.engine.schedule import schedule
from mgral.engine.workflow import configure
from mgral.errors import InputError, number_of, program

ON_GPUS = (
    "detector",
    "head",
    "external",
    "evaluate",
    "embed",
    "pseudo_labels",
    "base",
    "variant",
    "agent",
    "select",
)
"""Steps whose hours are GPU hours where they are given a GPU."""
WITHOUT_SPEEDS = """
Hours need measured speeds: add --measure to time a few iterations on this machine; or --speeds with the folder of a
finished run of the same detector (results/NAME), or with the output of --measure --json on another machine."""

ASSUMED = """
The data are not on disk, or have faults, so settings derived from them are unknown: the largest input size is
assumed, and that all images have boxes."""


@click.command("estimate")
@click.option(
    "--configfile",
    "files",
    type=options.FILE,
    multiple=True,
    default=(Path("params.yaml"),),
    help="Configuration of the experiment; if given several times, later files override earlier ones.",
)
@click.option(
    "--sizes",
    type=click.IntRange(min=1),
    nargs=3,
    help="Training images, test images, classes.  [default: those of the data on disk]",
)
@click.option(
    "--speeds",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Folder of a finished run, or output of --measure --json on another machine; may be repeated.",
)
@click.option("--measure", is_flag=True, help="Time a few iterations of training, detection and agent here.")
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    show_default="all, or 1 with --gpus",
    help="Jobs at once, on cores or GPUs; --measure times this many at once, because each is slower then.",
)
@options.gpus
@options.as_json
def command(
    files: tuple[Path, ...],
    sizes: tuple[int, int, int] | None,
    speeds: tuple[Path, ...],
    measure: bool,
    cores: int | None,
    gpus: int,
    as_json: bool,
) -> None:
    """Estimate the cost of an experiment: jobs, images trained on and detected on, hours, disk.

    Jobs are those that Snakemake plans without any results. Hours are the sum over a step's jobs, at the speed that
    each job has while others run.
    """
    config = configure(files, {})
    given_sizes = Sizes(*sizes) if sizes else None
    results = Path("results") / config.experiment
    with faults_shown(as_json):
        data_sizes = given_sizes or find_sizes(config, results)
    try:
        check_budget(config, data_sizes.train)
    except ValueError as error:
        raise InputError(str(error)) from None
    plan = plan_experiment(files, config, given_sizes)
    derived = derive_here(config, results)
    config = derived or assume_settings(config)
    work = plan_work(config, data_sizes, plan)
    jobs = cores or (1 if gpus else _cores_here())
    rates = measured_here(config, data_sizes, gpus, jobs) if measure else {}
    measured = load_speeds(speeds, config, rates)
    hours = {step: measured.hours(step, step_work) for step, step_work in work.items()}
    disk = estimate_disk(config, data_sizes, work, detector_bytes(config, data_sizes.classes))
    if as_json:
        steps = {step: {**step_work._asdict(), "hours": hours[step]} for step, step_work in work.items()}
        content = {"sizes": data_sizes._asdict(), "steps": steps, "jobs_side_by_side": jobs, "disk_bytes": disk}
        click.echo(json.dumps({**content, "detector": config.detector.name, "rates": dict(measured.rates)}, indent=1))
        return
    click.echo(
        f"{data_sizes.train} training and {number_of(data_sizes.test, 'test image')}, "
        f"{number_of(data_sizes.classes, 'class', 'classes')}\n"
    )
    click.echo("\n".join(_lines(work, hours)))
    if _sum(hours.values()) is not None:
        work_by_job = work_of_jobs(config, data_sizes, plan)
        lengths = [measured.hours(job.rule, job_work) or 0.0 for job, job_work in zip(plan, work_by_job, strict=True)]
        click.echo(_duration(plan, lengths, jobs))
    if isinstance(config.budget, BudgetConfig):
        planned = images_in(planned_in_images(config, data_sizes).budget)
        why = "" if data_sizes.boxes else ", the most that they can pay for: the boxes of an image are not known yet"
        click.echo(f"\nA cycle's {in_words(config.budget)} are taken for {planned} images{why}.")
    if derived is None:
        click.echo(ASSUMED)
    click.echo("\nDisk beside the data set, in GB (detections: at most)")
    click.echo(
        "\n".join(f"{name:12}{size / 1e9:12.3f}" for name, size in (disk | {"together": sum(disk.values())}).items())
    )
    beside = f", each of {jobs} jobs side by side" if jobs > 1 else ""
    for name, rate in rates.items():
        click.echo(f"\nMeasured here: {rate:.1f} {name.replace('_', ' ')}{beside}")
    if not speeds and not measure:
        click.echo(WITHOUT_SPEEDS)


def _cores_here() -> int:
    """Return how many jobs `snakemake --cores all` runs here."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measured_here(config: Config, sizes: Sizes, gpus: int, jobs: int) -> dict[str, float]:
    """Return the rates of this machine: those of one job while `jobs` of them run side by side."""
    from mgral.engine.measure import measure_rates  # torch takes seconds; faults of the configuration come first

    return measure_rates(config, sizes, gpus, jobs)


def detector_bytes(config: Config, classes: int) -> int:
    """Return the bytes of a detector's weights."""
    from mgral.models.build import random_detector  # torch takes seconds; faults of the configuration come first

    state = random_detector(config.detector, classes, seed=0).state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def load_speeds(paths: Sequence[Path], config: Config, rates: dict[str, float]) -> Speeds:
    """Return rates with those of files and finished runs added; raises InputError naming a path that is no use."""
    seconds: dict[str, tuple[float, Work]] = {}
    for path in paths:
        if path.is_dir():
            seconds |= _speeds_of_run(path, config)
        else:
            rates = rates | _rates_of_file(path, config)
    return Speeds(rates, seconds)


def _rates_of_file(path: Path, config: Config) -> dict[str, float]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(
            f"{path} is not JSON ({error}); give what `{program()} estimate --measure --json` prints"
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("rates"), dict):
        raise InputError(f"{path} contains no rates; give what `{program()} estimate --measure --json` prints")
    if (detector := content.get("detector", config.detector.name)) != config.detector.name:
        raise InputError(f"{path} is of {detector}, the experiment of {config.detector.name}; measure that one")
    if not content["rates"]:
        raise InputError(f"{path} contains no rates; give what `{program()} estimate --measure --json` prints")
    for name, rate in content["rates"].items():
        if type(rate) not in (int, float) or not 0 < rate < math.inf:
            raise InputError(f"{path}: {name} is {rate!r}, and no speed; measure again")
    return dict(content["rates"])


def _speed_settings(detector: DetectorConfig) -> dict[str, Any]:
    """Return the settings that decide about speed: of anchors their number, and not where weights come from."""
    values = detector.model_dump(mode="json", exclude={"weights"})
    return {
        key: len(value) if key.startswith(("anchor_", "aspect_")) and value else value
        for key, value in values.items()
    }


def _speeds_of_run(folder: Path, planned: Config) -> dict[str, tuple[float, Work]]:
    """Return the seconds of a run beside the work that its own configuration plans."""
    times = folder / "timings" / "costs_by_step.csv"
    if not times.is_file():
        raise InputError(f"{folder} contains no timings/{times.name}; give the folder of a run that is finished")
    run_config = load_config(folder / "config.yaml")
    config = load_settings(run_config, folder, run_config.seeds[0])
    ran, wanted = (_speed_settings(experiment.detector) for experiment in (config, planned))
    if differ := [
        f"{key} {ran.get(key)}, not {wanted.get(key)}" for key in ran | wanted if ran.get(key) != wanted.get(key)
    ]:
        raise InputError(f"{folder} was run with detector.{', '.join(differ)}; give a run with the same detector")
    work = plan_work(config, find_sizes(config, folder), plan_all(folder / "config.yaml"))
    costs = _costs_by_step(times)
    # Where jobs were run again, or some not by Snakemake, their times are not those of this work.
    return {
        step: (wall, work[step]) for step, (jobs, wall) in costs.items() if step in work and jobs == work[step].jobs
    }


def _costs_by_step(path: Path) -> dict[str, tuple[int, float]]:
    """Return jobs and wall seconds of each step."""
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            if not rows.fieldnames:
                raise ValueError("it is empty")
            return {row["step"]: (int(row["jobs"]), float(row["wall_s"])) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, and run the experiment to its report") from None


def _lines(work: dict[str, Work], hours: dict[str, float | None]) -> list[str]:
    """Return the lines of the table of steps, given their work and their hours, and the hours on GPUs."""
    lines = [f"{'step':14}{'jobs':>7}{'images trained on':>20}{'images detected on':>19}{'hours':>10}"]
    lines += [
        f"{step:14}{step_work.jobs:7}{step_work.trained or '-':>20}{step_work.seen or '-':>19}{_shown(hours[step])}"
        for step, step_work in work.items()
    ]
    jobs, trained, seen = (
        sum(getattr(step_work, field) for step_work in work.values()) for field in ("jobs", "trained", "seen")
    )
    lines.append(f"{'together':14}{jobs:7}{trained:20}{seen:19}{_shown(_sum(hours.values()))}")
    on_gpus = [hours[step] for step in ON_GPUS if step in hours]
    if any(value is not None for value in on_gpus):
        # A base that is not trained takes hardly any time.
        unknown = [step for step in ON_GPUS if step in hours and hours[step] is None and any(work[step][1:])]
        without = f", without {', '.join(unknown)}, of which no speed is known" if unknown else ""
        lines.append(f"\nHours of the steps that can use a GPU: {_shown(_sum(on_gpus)).strip()}{without}")
    return lines


def _duration(plan: Sequence[PlannedJob], lengths: Sequence[float], jobs: int) -> str:
    """Return how long jobs of these lengths, in hours, last together if so many run at once."""
    duration = schedule(plan, lengths, jobs)
    return (
        f"\nWith {jobs} job{'s'[: jobs > 1]} at once: {duration.side_by_side:.2f} hours, and never below "
        f"{duration.longest_chain:.2f}, the longest chain of jobs that wait for each other"
    )


def _sum(hours: Iterable[float | None]) -> float | None:
    """Return the sum of the hours that are known; None where none are."""
    known_hours = [value for value in hours if value is not None]
    return sum(known_hours) if known_hours else None


def _shown(hours: float | None) -> str:
    """Return a cell of the table; a dash where the hours are not known."""
    return f"{'-':>10}" if hours is None else f"{hours:10.2f}"
