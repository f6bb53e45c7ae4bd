"""What a timing depends on beside the code, and how it is printed."""

import json
import os
import resource
import sys
from importlib.metadata import version

import click

Measurements = dict[str, float | int | str]


def machine() -> Measurements:
    """Return the processors, the threads asked for, and the versions that do the work."""
    return {
        "processors": os.cpu_count() or 1,
        "threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "numpy": version("numpy"),
        "torch": version("torch"),
    }


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB (10^6 bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def show(measurements: Measurements, as_json: bool) -> None:
    """Print measurements on standard output, a line each, or as JSON."""
    if as_json:
        click.echo(json.dumps(measurements, indent=1))
        return
    width = max(len(name) for name in measurements)
    for name, value in measurements.items():
        click.echo(f"{name:<{width}}  {value:.6g}" if isinstance(value, float) else f"{name:<{width}}  {value}")
