"""A page of what a step of a training asks of a GPU, at two commits, by `launches`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks import launches
from mgral.artefacts.files import write_bytes

HEAD = """# Steps of a training, as a GPU is told to do them

Operators that a step launches on a GPU, and how often the processor waits for it, before and after
[decision 062](../decisions/062-steps-on-a-gpu.md). They are counted on a CPU, on torch's device `meta`, which
computes nothing (`benchmarks/launches.py`). An operator can be several kernels. Written by

    git worktree add ../before {commit}
    OMP_NUM_THREADS=1 .venv/bin/python -m benchmarks gpu --profile docs/results/gpu_steps.md --before ../before

with torch {torch}, for {batch} images of {side} x {side} pixels, {boxes} boxes an image, in float32; bfloat16 adds a
conversion of each weight, forward and backward. Before is {commit}. The first step does not count, as it also makes
what later ones keep.

The last two columns are what torch's profiler sees of the same steps, before and after, where the CPU computes them.
It does not tell tensors of the processor from those of the GPU. So what draws a batch counts too, and one read of it.
It does not see copies, nor that the processor waits for them. Some kernels of the CPU are made of other operators.
"""
TABLE = """
## {name}

| Part of a step | Operators before | after | Waits before | after | Profiler: operators | waits |
|---|---|---|---|---|---|---|
"""
STACKED = """
## Twelve trainings as one

A step of twelve trainings of `ssd` whose weights are stacked (`benchmarks/gpu_stacked.py`), and twelve steps one by
one, with two images of 64 x 64 pixels each, counted on the CPU: {stacked} and {apart} operators. Both are of timm's
network as it is built, and without what draws a batch on the processor.
"""


def write_page(page: Path, before: Path, twelve: tuple[int, int]) -> None:
    """Count by the code of a clone and by this one, in a process each, and write the page.

    `twelve` are the operators of a step of twelve trainings, stacked and one by one.
    """
    commit = subprocess.run(
        ["git", "-C", str(before), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    then, now = (_count(folder) for folder in (before, Path(__file__).parents[1]))
    text = HEAD.format(
        commit=commit,
        torch=torch.__version__.split("+")[0],
        batch=launches.BATCH,
        side=launches.SIDE,
        boxes=launches.BOXES,
    )
    for name in now:
        text += TABLE.format(name=name)
        columns = [one[name][kind] for kind in ("operators", "waits") for one in (then, now)]
        profiled = [[one[name]["profiled"][part] for part in launches.PARTS] for one in (then, now)]
        for number, part in enumerate(launches.PARTS):
            text += _row(part, [column[part] for column in columns], [one[number] for one in profiled])
        sums = [[sum(kind) for kind in zip(*one, strict=True)] for one in profiled]
        text += _row("all", [sum(column.values()) for column in columns], sums)
        text += f"\nCopies to the GPU: {then[name]['copies']:g} before, {now[name]['copies']:g} after.\n"
    write_bytes(page, (text + STACKED.format(stacked=twelve[0], apart=twelve[1])).encode())


def _row(part: str, counted: list[float], profiled: list[list[float]]) -> str:
    both = [f"{before:g} → {after:g}" for before, after in zip(*profiled, strict=True)]
    return f"| {' | '.join([part, *(f'{number:g}' for number in counted), *both])} |\n"


def _count(code: Path) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(code.resolve())}
    done = subprocess.run(
        # -P, as a file beside it has the name of one of Python's modules.
        [sys.executable, "-P", launches.__file__],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
