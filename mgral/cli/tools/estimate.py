"""Command `estimate`: what an experiment will cost, without running it."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from mgral.cli import options
from mgral.config import Config, TrainingConfig, load_config
from mgral.engine.cost import Sizes, Speeds, Work, estimate_disk, find_sizes, plan_work
from mgral.engine.workflow import configure
from mgral.errors import InputError

ON_GPUS = ("detector", "evaluate", "embed", "base", "variant", "agent", "select")
"""Steps whose hours are GPU hours where they are given a GPU."""
WITHOUT_SPEEDS = """
No hours without measured speeds: give --speeds the folder of a finished run of the same detector and size
(results/NAME), or what `mgral bench detector --json` and `mgral bench agent --json` print, as files. A file may also
name training_images_a_second, inference_images_a_second and steps_a_second (of the agent) itself."""


@click.command("estimate")
@click.option(
    "--configfile",
    "files",
    type=options.FILE,
    multiple=True,
    default=(Path("params.yaml"),),
    help="Configuration of the experiment; of several, a later one overrides an earlier one.",
)
@click.option("--sizes", type=int, nargs=3, help="Training images, test images, classes  [default: as far as known]")
@click.option(
    "--speeds",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="Folder of a finished run, or JSON of a benchmark; may be repeated.",
)
@options.as_json
def command(
    files: tuple[Path, ...], sizes: tuple[int, int, int] | None, speeds: tuple[Path, ...], as_json: bool
) -> None:
    """Estimate an experiment: its jobs, the images that are trained on and looked at, hours and disk.

    Jobs are counted from nothing. Hours are those of a step's jobs one after the other, at the measured speeds.
    """
    config = configure(files, {})
    known = Sizes(*sizes) if sizes else find_sizes(config, Path("results") / config.experiment)
    work, measured = plan_work(config, known), load_speeds(speeds, config)
    hours = {step: measured.hours(step, of_step) for step, of_step in work.items()}
    disk = estimate_disk(config, known, detector_bytes(config, known.classes))
    if as_json:
        jobs = {step: {**vars(of_step), "hours": hours[step]} for step, of_step in work.items()}
        click.echo(json.dumps({"sizes": known._asdict(), "steps": jobs, "disk_bytes": disk}, indent=1))
        return
    click.echo(f"{known.train} training and {known.test} test images, {known.classes} classes\n")
    click.echo("\n".join(_lines(work, hours)))
    click.echo("\nDisk beside the data set, in GB (detections: at most)")
    for name, size in {**disk, "together": sum(disk.values())}.items():
        click.echo(f"{name:12}{size / 1e9:12.3f}")
    if not speeds:
        click.echo(WITHOUT_SPEEDS)


def detector_bytes(config: Config, classes: int) -> int:
    """Return the bytes of a detector's weights."""
    from mgral.models.build import random_detector  # torch takes seconds, and a faulty configuration is said before

    state = random_detector(config.detector, classes, seed=0).state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def load_speeds(paths: Sequence[Path], config: Config) -> Speeds:
    """Read benchmarks' JSON and finished runs; raises InputError naming what is neither, or of another detector."""
    rates: dict[str, float] = {}
    seconds: dict[str, tuple[float, Work]] = {}
    for path in paths:
        if path.is_dir():
            seconds |= _speeds_of_run(path, config)
        else:
            rates |= _speeds_of_benchmark(path, config)
    return Speeds(rates, seconds)


def _speeds_of_benchmark(path: Path, config: Config) -> dict[str, float]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); give what a benchmark prints with --json") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no measurements; give what a benchmark prints with --json")
    if (found := content.get("detector", config.detector.name)) != config.detector.name:
        raise InputError(f"{path} is of {found}, the experiment of {config.detector.name}; measure that one")
    rates = {name: value for name, value in content.items() if isinstance(value, int | float)}
    ways = {"training": _way(config.training), "inference": "inference"}
    measured = {f"{what}_images_a_second": rates.get(f"{way}_images_per_second") for what, way in ways.items()}
    return {name: value for name, value in measured.items() if value is not None} | rates


def _way(training: TrainingConfig) -> str:
    """Return how `mgral bench detector` names a training with these settings."""
    if training.compile:
        return "mgral_compiled"
    return "mgral" if training.precision == "float32" else f"mgral_{training.precision}"


def _speeds_of_run(folder: Path, planned: Config) -> dict[str, tuple[float, Work]]:
    """Hold the seconds of a run against what its own configuration says that it did."""
    times = folder / "timings" / "costs_by_step.csv"
    if not times.is_file():
        raise InputError(f"{folder} holds no timings/{times.name}; give the folder of a run that is finished")
    config = load_config(folder / "config.yaml")
    if config.detector != planned.detector:
        raise InputError(f"{folder} was run with other settings under `detector`; give a run with the same")
    work = plan_work(config, find_sizes(config, folder))
    with times.open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Where jobs were run again, or some not by Snakemake, their times are not those of this work.
    return {
        row["step"]: (float(row["wall_s"]), work[row["step"]])
        for row in rows
        if row["step"] in work and int(row["jobs"]) == work[row["step"]].jobs
    }


def _lines(work: dict[str, Work], hours: dict[str, float | None]) -> list[str]:
    lines = [f"{'step':12}{'jobs':>7}{'images trained on':>20}{'images looked at':>19}{'hours':>10}"]
    lines += [
        f"{step:12}{one.jobs:7}{one.trained or '-':>20}{one.seen or '-':>19}{_shown(hours[step])}"
        for step, one in work.items()
    ]
    jobs, trained, seen = (sum(getattr(one, what) for one in work.values()) for what in ("jobs", "trained", "seen"))
    lines.append(f"{'together':12}{jobs:7}{trained:20}{seen:19}{_shown(_sum(hours.values()))}")
    on_gpus = [hours[step] for step in ON_GPUS if step in hours]
    if any(found is not None for found in on_gpus):
        unknown = [step for step in ON_GPUS if step in hours and hours[step] is None]
        without = f", without {', '.join(unknown)}, of which no speed is known" if unknown else ""
        lines.append(f"\nHours of the steps that can use a GPU: {_shown(_sum(on_gpus)).strip()}{without}")
    return lines


def _sum(hours: Iterable[float | None]) -> float | None:
    found = [value for value in hours if value is not None]
    return sum(found) if found else None


def _shown(hours: float | None) -> str:
    return f"{'-':>10}" if hours is None else f"{hours:10.2f}"
