"""Benchmark `pool`: two rounds of a project with a large pool of made-up pictures, each command with its cost."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image

from benchmarks.machine import machine
from mgral.artefacts.commit import commit
from mgral.artefacts.files import read_csv, read_json, write_json
from mgral.compute.progress import tracked
from mgral.engine.steps import STEPS
from mgral.labelling.settings import load_project_settings, write_project_settings
from mgral.report.results_page import markdown_table
from mgral.report.times import TimedJob, step_costs

WIDTH, HEIGHT, PATCH = 64, 48, 8
"""Of a picture and of the squares that it is made of, in pixels."""
COPIED = 50
"""One picture in so many is a near-copy of the one before it."""
CLASSES = ("square", "bar")
SIZES = ((16, 16), (28, 10))
"""Width and height of an object of each class, in pixels."""
SETTINGS = {
    "detector": {"name": "small_ssd", "width": 64, "height": 64},
    "training": {"batch_size": 8},
    "iterations": {"detector": 30},
}
TRAININGS = ("detector",)
"""Steps that train: how long they take, says the number of labels and not that of pictures."""
WAIT = 0.1
"""Seconds between looks at the memory of a command."""
MGRAL = str(Path(sys.executable).with_name("mgral"))
COLUMNS = ("command", "seconds", "processor seconds", "memory in MB")
JOB_COLUMNS = ("round", "step", "jobs", *COLUMNS[1:])
INTRODUCTION = """# A project of {images:,} pictures

All commands of two rounds of a project were run in turn, each once. Its {images:,} pictures are synthetic: JPEG
files of {width} x {height} pixels, and one in {copied} is a near-copy of another. The first round has no label. In
the second, a detector is trained on {labelled} pictures. It is small (`small_ssd`, 64 x 64 pixels, {iterations}
iterations), because this page measures costs that grow with the number of pictures, and the cost of training does
not. With larger pictures, the steps that read them take longer. With the default detector, the steps that run it take
longer: `embed` and `select`.

    {command}

|  |  |
| --- | --- |
| Commit | `{commit}` |
| Machine | {processors} processors, OMP_NUM_THREADS {threads}, numpy {numpy}, torch {torch} |

## Commands

Memory is the peak of all processes of a command together. Shared memory counts once, and pixels that are mapped from
the disk count too. If other programs use the machine at the same time, processor seconds are more reliable than
seconds.
"""
JOBS = """
## Jobs of `next`

The jobs recorded these costs. Seconds are the sum over all jobs of a step, and memory is that of the largest job.
Trainings are left out.
"""


class Cost(NamedTuple):
    """What a command took."""

    seconds: float
    """On the clock."""
    processor_seconds: float
    memory_mb: float
    """Most memory of all its processes together."""


@click.command("pool")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--images", type=click.IntRange(min=60), default=100_000, help="Pictures of the project.")
@click.option("--batch", type=click.IntRange(min=1), default=100, help="Pictures of a round.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")
def command(folder: Path, images: int, batch: int, output: Path) -> None:
    """Run two rounds of a project and write a page of seconds and memory of each command and job.

    Pictures are made in FOLDER, and kept there for the next time; the project is made beside them, and deleted.
    """
    pictures = folder / f"pictures{images}"
    again = f"python -m benchmarks pool FOLDER --images {images} --batch {batch}"
    said = {"images": images, "command": again, "commit": commit()[:12]}  # before a commit meanwhile changes it
    make_pictures(pictures, images)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        project = Path(place) / "project"
        costs = _run(project, pictures, images, batch)
        page = _page(project, costs, said)
    output.write_text(page, encoding="utf-8")


def make_pictures(folder: Path, count: int) -> None:
    """Write the pictures that are not there yet, p000001.jpg and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    there, partial = {path.name for path in folder.iterdir()}, folder / ".partial.jpg"
    for number in tracked(range(1, count + 1), "pictures", count, "picture"):
        if _name(number) not in there:
            Image.fromarray(_pixels(number)).save(partial, quality=90)
            partial.replace(folder / _name(number))


def _name(number: int) -> str:
    return f"p{number:06}.jpg"


def _pixels(number: int) -> npt.NDArray[np.uint8]:
    """Return patches of random colours with objects on them; a near-copy has the noise of its own alone."""
    rng = np.random.default_rng(_scene(number))
    patches = rng.integers(0, 160, (HEIGHT // PATCH, WIDTH // PATCH, 3))
    pixels = np.kron(patches, np.ones((PATCH, PATCH, 1), np.int64))
    for (x, y, width, height), label in objects(number):
        pixels[y : y + height, x : x + width] = (250, 200, 60) if label else (60, 200, 250)
    noise = np.random.default_rng((1, number)).integers(-2, 3, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def _scene(number: int) -> int:
    return number - 1 if number % COPIED == 0 else number


def objects(number: int) -> list[tuple[tuple[int, int, int, int], int]]:
    """Return x, y, width and height of each object of a picture, and the place of its class."""
    rng = np.random.default_rng((2, _scene(number)))
    found = []
    for label in rng.integers(0, len(CLASSES), rng.integers(1, 4)).tolist():
        width, height = SIZES[label]
        found.append(((int(rng.integers(WIDTH - width)), int(rng.integers(HEIGHT - height)), width, height), label))
    return found


def write_answers(tasks: Path, output: Path) -> int:
    """Answer the COCO tasks of a batch with what is true, and return how many pictures there are."""
    coco = read_json(tasks)
    ids = {one["name"]: one["id"] for one in coco["categories"]}
    annotations = [
        {"image_id": image["id"], "category_id": ids[CLASSES[label]], "bbox": box}
        for image in coco["images"]
        for box, label in objects(int(Path(image["file_name"]).stem[1:]))
    ]
    numbered = [{"id": number, **one} for number, one in enumerate(annotations, start=1)]
    write_json(output, {**coco, "annotations": numbered})
    return len(coco["images"])


def _run(project: Path, pictures: Path, images: int, batch: int) -> list[tuple[str, Cost]]:
    """Run all commands of two rounds, and return the cost of each."""
    costs: list[tuple[str, Cost]] = []

    def run(title: str, *words: str | Path) -> None:
        folder = project.parent if words[0] == "init" else project
        costs.append((title, measure([MGRAL, "project", *map(str, words)], folder)))
        print(f"{title}: {costs[-1][1].seconds:.1f} s, {costs[-1][1].memory_mb:.0f} MB", file=sys.stderr, flush=True)

    given = ["--pictures", pictures.resolve(), "--classes", ",".join(CLASSES)]
    run("`init`", "init", project, *given, "--budget", str(10 * batch), "--batch", str(batch))
    settings = load_project_settings(project).model_copy(update={"settings": SETTINGS})
    write_project_settings(project, settings)
    run("`next`, the first round", "next")
    write_answers(project / "round1" / "tasks" / "coco" / "instances.json", project / "labels.json")
    run("`import` of its labels", "import", "labels.json")
    run("`status`", "status")
    run("`scan`, nothing changed", "scan")
    run("`next`, the second round", "next")
    run("`export`", "export", "labelled", "--format", "coco")
    run("`dvc`", "dvc")
    return costs


def measure(words: Sequence[str], folder: Path) -> Cost:
    """Run a command in a folder; raises CalledProcessError where it fails."""
    start, memory = time.perf_counter(), 0.0
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        memory = max(memory, _memory(process.pid))
        time.sleep(WAIT)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(ended[1])
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Cost(seconds, ended[2].ru_utime + ended[2].ru_stime, memory / 1e6)


def _memory(pid: int) -> float:
    """Return the memory of a process and of all below it in bytes; what they share counts once, on Linux."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0
    for one in processes:
        try:
            found = one.memory_full_info()
        except psutil.Error:  # it has ended
            continue
        total += getattr(found, "pss", found.rss)
    return total


def _page(project: Path, costs: Iterable[tuple[str, Cost]], said: Mapping[str, object]) -> str:
    rows = [(title, *_numbers(*one)) for title, one in costs]
    labelled = len(read_json(project / "round2" / "snapshot.json")["labelled"])
    head = INTRODUCTION.format(
        width=WIDTH,
        height=HEIGHT,
        copied=COPIED,
        labelled=labelled,
        iterations=SETTINGS["iterations"]["detector"],
        **said,
        **machine(),
    )
    return "\n".join(
        [head, markdown_table(COLUMNS, rows), JOBS, markdown_table(JOB_COLUMNS, list(_job_rows(project))), ""]
    )


def _job_rows(project: Path) -> Iterable[tuple[str, ...]]:
    """Yield a row for each step of each round; what the second round found done is of the first."""
    done: set[str] = set()
    for number in (1, 2):
        rows = read_csv(project / "results" / f"round{number}" / "timings" / "jobs.csv")
        jobs = [_job(row) for row in rows if row["output"] not in done and row["step"] not in TRAININGS]
        done |= {row["output"] for row in rows}
        for cost in step_costs(jobs, STEPS):
            yield str(number), f"`{cost.step}`", str(cost.jobs), *_numbers(cost.wall, cost.core, cost.memory)


def _job(row: Mapping[str, str]) -> TimedJob:
    cost = (float(row[name]) for name in ("wall_s", "core_s", "peak_memory_mb"))
    return TimedJob(row["step"], json.loads(row["wildcards"]), *cost)


def _numbers(wall: float, core: float, memory: float) -> tuple[str, str, str]:
    return f"{wall:.1f}", f"{core:.1f}", f"{memory:.0f}"
