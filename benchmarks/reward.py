"""Benchmark `reward`: what one lookup costs beside the training that it replaces."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import click
import numpy as np

from benchmarks.machine import Measurements, machine, show
from mgral.artefacts.files import read_arrays
from mgral.artefacts.seeds import derive_seed
from mgral.config import Config, load_config
from mgral.errors import InputError, StepError
from mgral.method.lut.reward import MeanReward, RewardTable
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, exact_distance, project_and_sort

PAPER_BATCHES = (1000, 2345)
"""Query batches of the paper: PASCAL VOC, and 2 % of MS COCO."""
PAPER_VARIANTS, PAPER_DIMENSIONS, PROJECTIONS = 100, 256, 64
LOOK_UPS = 201


@click.command("reward")
@click.option(
    "--results",
    type=click.Path(path_type=Path),
    default=Path("results/synthetic"),
    help="Folder of an experiment with a lookup table.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(results: Path, as_json: bool) -> None:
    """Time one lookup in an experiment's tables, one training of its variant 1, and lookups at the paper's sizes.

    The training is a whole process, as the workflow runs it, with its start-up and the measuring of the variant; the
    seconds without start-up leave out what the same process takes to print its help.
    """
    measurements = measure_look_up(results) | measure_training(results)
    measurements["training_to_look_up"] = float(measurements["training_seconds"]) / float(
        measurements["look_up_seconds"]
    )
    for batch in PAPER_BATCHES:
        measurements |= measure_size(batch, PAPER_VARIANTS, PAPER_DIMENSIONS, PROJECTIONS)
    show(measurements | machine(), as_json)


def find_tables(results: Path, config: Config) -> list[Path]:
    """Return the lookup tables of a cycle of an experiment, of whichever repetition and cycle comes first."""
    folders = sorted(results.glob("seed*/mgral/cycle*/lut"))
    tables = (
        [folders[0] / f"split{split}" / "table.safetensors" for split in range(config.lut.splits)] if folders else []
    )
    if not all(table.exists() for table in tables) or not tables:
        raise InputError(f"{results} holds no lookup tables; run the workflow first, or name another --results")
    return tables


def measure_look_up(results: Path) -> Measurements:
    """Time lookups of one batch of the subsets' size in all tables, by the experiment's distance and estimator."""
    config = load_config(results / "config.yaml")
    tables = find_tables(results, config)
    subsets = read_arrays(tables[0])["embeddings"]
    pool = subsets[0] + np.random.default_rng(0).normal(0, 0.1, subsets[0].shape).astype(np.float32)
    reward = MeanReward([RewardTable.load(path, config.reward).over(pool) for path in tables])
    batches = np.arange(len(pool))[None]
    return {
        "tables": len(tables),
        "variants": len(subsets),
        "batch": subsets.shape[1],
        "dimensions": subsets.shape[2],
        "distance": config.reward.distance,
        "look_up_seconds": _median_seconds(lambda: reward.lookup(batches), LOOK_UPS),
    }


def measure_training(results: Path) -> Measurements:
    """Time the step `variant` for variant 1, writing to a temporary file."""
    lut = find_tables(results, load_config(results / "config.yaml"))[0].parent
    cycle = lut.parents[1].name.removeprefix("cycle")
    seed = lut.parents[3].name.removeprefix("seed")
    inputs = {
        "config": results / "config.yaml",
        "dataset": results / "dataset" / "train.json",
        "images": results / "dataset" / "train.npy",
        "subsets": lut / "subsets.json",
        "base": lut / "base.safetensors",
    }
    if (teacher := lut.parent / "pseudo_labels.json").exists():
        inputs["pseudo_labels"] = teacher
    for path in inputs.values():
        if not path.exists():
            raise InputError(f"{path} is missing; run the workflow again")
    options = [part for name, path in inputs.items() for part in (f"--{name}", str(path))]
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "variants1-1.json")
        whole = _run_variant(
            [*options, "--first=1", "--last=1", "--seed", seed, "--cycle", cycle, "--split=0", "--output", output]
        )
    start_up = _run_variant(["--help"])
    return {"training_seconds": whole, "training_seconds_without_start_up": whole - start_up}


def _run_variant(arguments: list[str]) -> float:
    program = [sys.executable, "-c", "from mgral.cli.main import main; main()", "variant", *arguments]
    start = perf_counter()
    finished = subprocess.run(program, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise StepError(f"bench: the step `variant` failed: {finished.stderr.strip()[-2000:]}")
    return perf_counter() - start


def measure_size(batch: int, variants: int, dimensions: int, projections: int) -> Measurements:
    """Return lookups a second, sliced and exact, for random sets of the given sizes.

    An exact lookup is `variants` times one exact distance, which alone takes up to a second.
    """
    rng = np.random.default_rng(derive_seed(0, "bench reward", batch))
    directions = draw_projections(dimensions, projections, rng)
    shape = (variants, batch, dimensions)
    subsets = rng.standard_normal(shape, dtype=np.float32)
    sliced = SlicedDistance(directions, project_and_sort(subsets, directions))
    query = rng.standard_normal((1, batch, dimensions), dtype=np.float32)
    sliced_seconds = _median_seconds(lambda: sliced(query), 5)
    exact_seconds = _median_seconds(lambda: exact_distance(query[0], subsets[0]), 1)
    name = f"batch_{batch}_variants_{variants}"
    return {
        f"{name}_sliced_look_ups_a_second": 1 / sliced_seconds,
        f"{name}_exact_look_ups_a_second": 1 / (exact_seconds * variants),
    }


def _median_seconds(call: Callable[[], object], repetitions: int) -> float:
    """Time a call after one that is not timed, which fills caches and imports."""
    call()
    times = []
    for _ in range(repetitions):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return median(times)
