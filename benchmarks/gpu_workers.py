"""Processes on one card that stay, NVIDIA's Multi-Process Service for them, and looks at the card meanwhile."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import click
import pynvml

from benchmarks.gpu_measure import work

READY_SECONDS = 90
"""In which a way must be ready to be measured; what is not is stopped."""
SAMPLED = 0.1
"""Seconds between two looks at the card."""
FAILURES = (OSError, EOFError, TimeoutError)
"""Of processes that hang, or have died."""


@contextmanager
def started(processes: int, device: str, *, mps: bool) -> Iterator[tuple["Workers", bool]]:
    """Start processes, under MPS where that is asked for and works, and report whether it does."""
    with ExitStack() as stack:
        on = mps and stack.enter_context(mps_server(device))
        try:
            workers = stack.enter_context(Workers(processes, device))
        except FAILURES as error:
            if not on:
                raise
            click.echo(f"processes under MPS failed: {type(error).__name__} {error}", err=True)
            stack.close()
            on, workers = False, stack.enter_context(Workers(processes, device))
        yield workers, on


class Workers:
    """Processes that stay, as each start takes seconds; those that hang are replaced."""

    def __init__(self, count: int, device: str) -> None:
        self._device, self._count = device, count
        self._patience = 1 if device == "cuda" else 10
        self._start()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        context = get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(self._count):
            here, there = context.Pipe()
            process = context.Process(target=work, args=(there, self._device), daemon=True)
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)
        try:
            self.names = [self._receive(pipe, READY_SECONDS) for pipe in self._pipes]
        except FAILURES:
            self._stop()
            raise

    def _stop(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        end = time.monotonic() + 5  # as MPS may suffer where a process dies at work
        for process in self._processes:
            process.join(max(0, end - time.monotonic()))
            process.kill()

    def run(
        self, jobs: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], limit: float, seconds: float = 0
    ) -> tuple[list[Any], dict[str, float]]:
        """Do jobs in a process each; those that say that they are ready begin together. Return what they found.

        With the second: how busy the card was meanwhile, and its memory. Raises TimeoutError after the limit.
        """
        pipes = self._pipes[: len(jobs)]
        try:
            for pipe, job in zip(pipes, jobs, strict=True):
                pipe.send(job)
            found = [self._receive(pipe, limit) for pipe in pipes]
            if "ready" not in found:
                return found, {}
            begun = [number for number, one in enumerate(found) if one == "ready"]
            with watched(self._device) as seen:
                for number in begun:
                    pipes[number].send(seconds)
                for number in begun:
                    found[number] = self._receive(pipes[number], seconds + READY_SECONDS)
            return found, seen
        except FAILURES:
            self._stop()
            self._start()
            raise

    def _receive(self, pipe: Connection, limit: float) -> Any:
        if not pipe.poll(limit * self._patience):
            raise TimeoutError(f"after {limit * self._patience:.0f} s")
        return pipe.recv()


@contextmanager
def watched(device: str) -> Iterator[dict[str, float]]:
    """Fill in how busy the first card is meanwhile, 0 to 100, and the memory taken of it, in MiB."""
    found: dict[str, float] = {}
    if device == "cpu":
        yield found
        return
    pynvml.nvmlInit()
    card, over = pynvml.nvmlDeviceGetHandleByIndex(0), Event()
    busy, memory = [], []

    def look() -> None:
        while not over.wait(SAMPLED):
            busy.append(pynvml.nvmlDeviceGetUtilizationRates(card).gpu)
            memory.append(pynvml.nvmlDeviceGetMemoryInfo(card).used / 2**20)

    thread = Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        if busy:
            found |= {"gpu_busy": float(mean(busy)), "gpu_memory_mb": float(max(memory))}


def card_facts(device: str) -> dict[str, Any]:
    """Return the versions of the driver and of what a training is made of; nothing on the CPU."""
    if device == "cpu":
        return {}
    pynvml.nvmlInit()
    driver = pynvml.nvmlSystemGetDriverVersion()
    return {"driver": driver, "torchvision": version("torchvision"), "timm": version("timm")}


@contextmanager
def mps_server(device: str) -> Iterator[bool]:
    """Run NVIDIA's Multi-Process Service for the processes that start meanwhile, and report whether it is there."""
    if device == "cpu":
        yield False
        return
    with TemporaryDirectory(prefix="mps-") as folder:
        places = {"CUDA_MPS_PIPE_DIRECTORY": f"{folder}/pipe", "CUDA_MPS_LOG_DIRECTORY": f"{folder}/log"}
        for place in places.values():
            Path(place).mkdir()
        os.environ.update(places)
        try:
            started = subprocess.run(["nvidia-cuda-mps-control", "-d"], capture_output=True).returncode == 0
        except OSError:
            started = False
        try:
            yield started
        finally:
            if started:
                with suppress(subprocess.TimeoutExpired):
                    subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", capture_output=True, timeout=20)
            for name in places:
                del os.environ[name]
