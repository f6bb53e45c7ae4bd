"""Runs the workflow in a folder of its own, on the real steps or on the stub of them in tests/support/stub."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mgral.engine.plan import PlannedJob, plan_jobs

ROOT = Path(__file__).parents[2]
TINY = ROOT / "config" / "tiny.yaml"


def snakemake(
    folder: Path, *arguments: str | Path, stub: bool | Path = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `snakemake` in `folder`; output and messages come back as one text.

    `stub` may also be the folder of another `mgral`.
    """
    variables = {**environment_of(folder, stub), **environment}
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *arguments]
    return subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=variables,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def environment_of(folder: Path, stub: bool | Path) -> dict[str, str]:
    """Return the variables with which jobs find the real steps or the stub of them."""
    variables = {**os.environ, "XDG_CACHE_HOME": str(folder / ".cache"), "OMP_NUM_THREADS": "1"}
    if stub:
        # The Snakefile puts the real `mgral` first on the PATH; bash, which runs the jobs, puts the stub before it.
        startup = folder / "stub.sh"
        programs = ROOT / "tests" / "support" / "stub" if stub is True else stub
        startup.write_text(f'PATH="{programs}:$PATH"\n')
        variables["BASH_ENV"] = str(startup)
    return variables


def planned(folder: Path, *arguments: str | Path, stub: bool = False) -> list[tuple[str, dict[str, str]]]:
    """Return rule and wildcards of every job that would run now, `all` left out."""
    jobs = jobs_planned(folder, *arguments, stub=stub)
    return [(job.rule, job.wildcards) for job in jobs]


def jobs_planned(folder: Path, *arguments: str | Path, stub: bool = False) -> list[PlannedJob]:
    """Return every job that would run now, `all` left out."""
    options = ["--snakefile", str(ROOT / "Snakefile"), *map(str, arguments)]
    return plan_jobs(*options, environment=environment_of(folder, stub), folder=folder)


def count_rules(jobs: list[tuple[str, dict[str, str]]]) -> dict[str, int]:
    """Return how many jobs there are of each rule."""
    return dict(Counter(rule for rule, _ in jobs))
