"""What a job costs in the container: `python -m benchmarks.container_cost`, in a clone where `make image` has been.

A step that loads torch and prints its help, which is all start-up, outside and inside in turn. Numbers are for
docs/measurements.md.
"""

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

ROUNDS = 9
STEP = ("mgral", "evaluate", "--help")
PLACES = {
    "plain": (str(Path(sys.executable).with_name(STEP[0])), *STEP[1:]),
    "container": ("apptainer", "exec", "mgral.sif", *STEP),
    "container, nothing in it": ("apptainer", "exec", "mgral.sif", "true"),
}


def main() -> None:
    """Print the median and the least seconds of each place."""
    seconds: dict[str, list[float]] = {place: [] for place in PLACES}
    for _ in range(ROUNDS):
        for place, command in PLACES.items():
            start = perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[place].append(perf_counter() - start)
    for place, values in seconds.items():
        print(f"{place}: median {median(values):.2f} s, least {min(values):.2f} s")


if __name__ == "__main__":
    main()
