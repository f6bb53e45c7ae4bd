"""Seconds from a command to a step that has torch, alone and from the job server, outside and in the container."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import click

from mgral.engine.container import python_inside
from mgral.engine.job_server import job_server

IMAGE = Path("mgral.sif")
STEP = ("mgral", "evaluate", "--help")
"""Imports all that the step needs, and does nothing."""


@click.command("start")
@click.option("--rounds", default=9, help="Starts of each kind.")
def command(rounds: int) -> None:
    """Print the median and the least seconds of each kind; the container's where mgral.sif is there."""
    for name, of_step, python in _places():
        for kind in ("alone", "job server"):
            with _server(python if kind == "job server" else None):
                seconds = [_time(of_step) for _ in range(rounds + 1)][1:]
            click.echo(f"{name}, {kind}: median {median(seconds):.2f} s, least {min(seconds):.2f} s")


def _places() -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Yield a name, the command of the step and the command of Python."""
    yield "outside", (str(Path(sys.executable).with_name(STEP[0])), *STEP[1:]), (sys.executable,)
    if IMAGE.exists():
        python = python_inside(IMAGE, "")
        yield "container", (*python[:-1], *STEP), python


@contextmanager
def _server(python: Sequence[str] | None) -> Iterator[None]:
    if python is None:
        yield
        return
    with job_server(Path(f".benchmark-{os.getpid()}.socket"), python):
        yield


def _time(command: Sequence[str]) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return perf_counter() - start
