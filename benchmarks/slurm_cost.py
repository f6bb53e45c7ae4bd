"""What a job costs on Slurm, and what its nodes gain; on two cores: `python -m benchmarks.slurm_cost`.

The 16 variants of a table of the tiny experiment, each a job of its own: on one core, on two, and on a Slurm of two
nodes on this machine; first as the stub of the step, whose time is all overhead, then as the real one. Numbers are
for docs/measurements.md.
"""

import shutil
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from run_workflow import TINY, snakemake
from slurm_cluster import EXECUTOR, slurm_cluster

VARIANTS = (
    "--configfile",
    TINY,
    "--config",
    "strategies=[mgral]",
    "cycles=1",
    "lut={variants: 15, variants_per_job: 1}",
)


def main() -> None:
    """Print wall times, of all jobs and of one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cluster").mkdir()
        with slurm_cluster(folder / "cluster") as cluster:
            environment = {**cluster.environment, "MGRAL_DEVICE": "cpu"}
            for steps, stub in (("stub", True), ("mgral", False)):
                start = folder / steps
                start.mkdir()
                run(start, "--until", "base", "--cores", "2", stub=stub)
                for place, options in (
                    ("1 core", ["--cores", "1"]),
                    ("2 cores", ["--cores", "2"]),
                    ("Slurm", EXECUTOR),
                ):
                    copy = folder / f"{steps} {place}"
                    shutil.copytree(start, copy)
                    seconds = run(copy, "--until", "variant", *options, stub=stub, **environment)
                    print(f"{steps}, {place}: {seconds:.1f} s, {seconds / 16:.2f} s a job", flush=True)
            seconds = [(job.end - job.start).seconds for job in cluster.jobs()]
            print(
                f"from start to end of a job on Slurm: stub {median(seconds[:16])} s, mgral {median(seconds[16:])} s"
            )


def run(folder: Path, *arguments: str | Path, **options) -> float:
    """Run the workflow and return the seconds it took."""
    start = perf_counter()
    done = snakemake(folder, *arguments, *VARIANTS, **options)
    assert done.returncode == 0, done.stdout
    return perf_counter() - start


if __name__ == "__main__":
    main()
