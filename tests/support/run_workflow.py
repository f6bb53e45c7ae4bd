"""Runs the workflow in a folder of its own, on the real steps or on the stub of them in tests/support/stub."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ROOT / "config" / "tiny.yaml"


def snakemake(
    folder: Path, *arguments: str | Path, stub: bool | Path = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `snakemake` in `folder`; output and messages come back as one text.

    `stub` may also be the folder of another `mgral`.
    """
    variables = {**os.environ, "XDG_CACHE_HOME": str(folder / ".cache"), "OMP_NUM_THREADS": "1", **environment}
    if stub:
        # The Snakefile puts the real `mgral` first on the PATH; bash, which runs the jobs, puts the stub before it.
        startup = folder / "stub.sh"
        programs = ROOT / "tests" / "support" / "stub" if stub is True else stub
        startup.write_text(f'PATH="{programs}:$PATH"\n')
        variables["BASH_ENV"] = str(startup)
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


def planned(folder: Path, *arguments: str | Path, stub: bool = False) -> list[tuple[str, dict[str, str]]]:
    """Return rule and wildcards of every job that a dry run announces, `all` left out."""
    done = snakemake(folder, "--dry-run", *arguments, stub=stub)
    assert done.returncode == 0, done.stdout
    jobs = []
    for block in re.split(r"^(?:local)?rule ", done.stdout, flags=re.MULTILINE)[1:]:
        rule = block.partition(":")[0]
        wildcards = re.search(r"^    wildcards: (.*)$", block, flags=re.MULTILINE)
        pairs = wildcards[1].split(", ") if wildcards else []
        if rule != "all":
            jobs.append((rule, dict(pair.split("=", 1) for pair in pairs)))
    return jobs


def count_rules(jobs: list[tuple[str, dict[str, str]]]) -> dict[str, int]:
    """Return how many jobs there are of each rule."""
    return dict(Counter(rule for rule, _ in jobs))
