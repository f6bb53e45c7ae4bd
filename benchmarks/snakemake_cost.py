"""What Snakemake's own process costs, with its limit of job starts and without it.

`PYTHONPATH=tests/support python -m benchmarks.snakemake_cost CONFIG [KEY=VALUE...]`. The steps are the stub's. Each
takes a second, so that jobs wait for others, as in an experiment.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, sleep

import psutil
from run_workflow import ROOT, environment_of

LIMITS = {"no limit": (), "Snakemake's limit, given": ("--max-jobs-per-timespan", "101/1s")}
"""Names and options; any limit but the default counts as given by the user."""
SECONDS = 1.0
"""Between two looks at the processor time."""


def main(configfile: Path, changes: list[str]) -> None:
    """Run the experiment on the stub both ways, and print the processor time of Snakemake's process."""
    for name, options in LIMITS.items():
        with tempfile.TemporaryDirectory() as folder:
            started = perf_counter()
            used = run(Path(folder), [*options, "--configfile", str(configfile), "--config", *changes])
            print(f"{name}: {used:.1f} s of processor time in {perf_counter() - started:.0f} s", flush=True)


def run(folder: Path, arguments: list[str]) -> float:
    """Run Snakemake in a folder, and return the processor seconds of its own process."""
    environment = environment_of(folder, stub=True)
    startup = folder / "stub.sh"
    startup.write_text(f"{startup.read_text()}sleep 1\n")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2", *arguments]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        seen, used = psutil.Process(process.pid), 0.0
        while process.poll() is None:
            times = seen.cpu_times()
            used = times.user + times.system or used
            sleep(SECONDS)
    assert process.returncode == 0, (folder / "log").read_text()[-2000:]
    return used


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
