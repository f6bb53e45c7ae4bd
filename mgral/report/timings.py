"""The folder timings/: what the jobs cost, kept apart from the results, which are to be the same in each run."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mgral.artefacts.files import read_csv, write_bytes, write_csv, write_json
from mgral.artefacts.integrity import load_record
from mgral.config import Config
from mgral.engine.steps import STEPS
from mgral.errors import InputError
from mgral.report.rendering import render
from mgral.report.times import STAGES, TimedJob, cycle_costs, cycle_rows, duration, step_costs, step_rows

RUNS = "run.json"
"""File in timings/ with the command that made each target."""
JOBS = "jobs.csv"
"""File in timings/ with a line for each job."""
COLUMNS = ("output", "step", "wildcards", "wall_s", "core_s", "peak_memory_mb")
COST = ("wall_seconds", "processor_seconds", "peak_memory_mb")
"""What the record of an output says of the job that wrote it."""
Made = tuple[str, Mapping[str, str], Sequence[str]]
"""Rule, wildcards and outputs of a job."""


def write_timings(config: Config, results: Path, made: Iterable[Made]) -> None:
    """Write the page and the tables of what the jobs of an experiment took.

    Parameters
    ----------
    config
        The experiment.
    results
        Its results folder; timings/ in it is written.
    made
        The jobs of the workflow. Those of other targets are known from before.

    Raises
    ------
    InputError
        Where no job left a record.
    """
    table = results / "timings" / JOBS
    jobs = {path: job for path, job in _known_jobs(table) if job} | dict(filter(None, map(_measured_job, made)))
    if not jobs:
        raise InputError(f"{results} has no records of jobs; run snakemake first")
    write_csv(table, [_job_row(path, jobs[path]) for path in sorted(jobs)], COLUMNS)
    seeds = {None, *map(str, config.seeds)}  # a run of other seeds in the same folder has costs of its own
    counted = [job for job in jobs.values() if job.wildcards.get("seed") in seeds]
    steps, cycles = step_costs(counted, STEPS), cycle_costs(counted, config)
    page = render(
        "timings.html.jinja", {"duration": duration}, config=config, steps=steps, cycles=cycles, stages=STAGES
    )
    for name, rows in (("costs_by_step", step_rows(steps)), ("costs_by_cycle", cycle_rows(cycles))):
        write_csv(results / "timings" / f"{name}.csv", rows, tuple(rows[0]))
    write_bytes(results / "timings" / "timings.html", page.encode())


def _known_jobs(table: Path) -> Iterator[tuple[str, TimedJob | None]]:
    """Yield the jobs of an earlier run by an output of each; None where its record is gone."""
    for row in read_csv(table) if table.exists() else ():
        yield row["output"], _load_job(row["output"], row["step"], json.loads(row["wildcards"]))


def _measured_job(made: Made) -> tuple[str, TimedJob] | None:
    """Return the output of a job that has a record, and the job."""
    step, wildcards, outputs = made
    return next(((path, job) for path in outputs if (job := _load_job(path, step, wildcards))), None)


def _load_job(path: str, step: str, wildcards: Mapping[str, str]) -> TimedJob | None:
    """Return the job that wrote an output, with the times in its record; None where it has none."""
    record = load_record(Path(path)) or {}
    if not record.keys() >= set(COST):
        return None
    return TimedJob(step, wildcards, *(record[name] for name in COST))


def _job_row(path: str, job: TimedJob) -> dict[str, object]:
    cost = {"wall_s": job.wall, "core_s": job.core, "peak_memory_mb": job.memory}
    return {"output": path, "step": job.step, "wildcards": json.dumps(dict(job.wildcards)), **cost}


def earlier_times(made: Iterable[Made]) -> list[tuple[str, float]]:
    """Return rule and seconds of those of the jobs that have run before."""
    return [(job.step, job.wall) for _, job in filter(None, map(_measured_job, made))]


def record_command(results: Path, target: str, command: str) -> None:
    """Note in timings/ by which command a target of an experiment was made last."""
    path = results / "timings" / RUNS
    commands = json.loads(path.read_bytes()) if path.exists() else {}
    write_json(path, {**commands, target: command})
