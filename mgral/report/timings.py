"""The folder timings/: what the jobs cost, kept apart from the results, which are to be the same in each run."""

import json
from pathlib import Path

from mgral.artefacts.files import write_bytes, write_csv, write_json
from mgral.config import Config
from mgral.engine.steps import STEPS
from mgral.errors import InputError
from mgral.report.rendering import render
from mgral.report.times import STAGES, cycle_costs, cycle_rows, duration, load_jobs, step_costs, step_rows

RUNS = "run.json"
"""File in timings/ with the command that made each target."""


def write_timings(config: Config, results: Path) -> None:
    """Write the page and the tables of what Snakemake measured of the jobs of an experiment.

    Parameters
    ----------
    config
        The experiment.
    results
        Its results folder; benchmarks/ in it is read, timings/ is written.

    Raises
    ------
    InputError
        Where no job has been measured.
    """
    jobs = load_jobs(results / "benchmarks")
    if not jobs:
        raise InputError(
            f"{results / 'benchmarks'} holds no times of jobs, as only Snakemake measures them; run snakemake, "
            "with --forceall where the results are there already"
        )
    steps, cycles = step_costs(jobs, STEPS), cycle_costs(jobs, config)
    page = render(
        "timings.html.jinja", {"duration": duration}, config=config, steps=steps, cycles=cycles, stages=STAGES
    )
    for name, rows in (("costs_by_step", step_rows(steps)), ("costs_by_cycle", cycle_rows(cycles))):
        write_csv(results / "timings" / f"{name}.csv", rows, tuple(rows[0]))
    write_bytes(results / "timings" / "timings.html", page.encode())


def record_command(results: Path, target: str, command: str) -> None:
    """Note in timings/ by which command a target of an experiment was made last."""
    path = results / "timings" / RUNS
    known = json.loads(path.read_bytes()) if path.exists() else {}
    write_json(path, {**known, target: command})
