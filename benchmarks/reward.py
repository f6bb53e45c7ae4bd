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
from mgral.method.lut.reward import load_tables
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, exact_distance, project_and_sort
from mgral.selection.embeddings import load_embeddings

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

    The training is a complete process, as the workflow runs it, with its start-up and the measuring of the variant;
    the seconds without start-up leave out what the same process takes to print its help.
    """
    measurements = measure_look_up(results) | measure_training(results)
    measurements["training_to_look_up"] = float(measurements["training_seconds"]) / float(
        measurements["look_up_seconds"]
    )
    for batch in PAPER_BATCHES:
        measurements |= measure_size(batch, PAPER_VARIANTS, PAPER_DIMENSIONS, PROJECTIONS)
    show(measurements | machine(), as_json)


def find_tables(results: Path) -> tuple[Config, list[Path]]:
    """Return the settings of the first strategy with an agent, and its lookup tables of cycle 0, one a split."""
    config = load_config(results / "config.yaml")
    for strategy in config.agents[:1]:
        table, reward = config.name_of("table", strategy), config.name_of("reward", strategy)
        own = config.for_strategy(strategy)
        for folder in sorted(results.glob(f"seed*/initial/cycle0/tables/{table}")):
            tables = [folder / f"split{split}" / reward / "table.safetensors" for split in range(own.lut.splits)]
            if all(path.exists() for path in tables):
                return own, tables
    raise InputError(f"{results} contains no lookup tables; run the workflow first, or name another --results")


def measure_look_up(results: Path) -> Measurements:
    """Time lookups of one batch of the subsets' size in all tables, by the experiment's distance and estimator."""
    config, tables = find_tables(results)
    subsets = read_arrays(tables[0])["counts" if config.reward.distance == "by_class" else "embeddings"]
    name = f"{config.embedding_in(load_config(results / 'config.yaml'))}.safetensors"
    embeddings = load_embeddings(tables[0].parents[4] / "embeddings" / name)
    size = min(subsets.shape[1], len(embeddings.image_ids))
    reward = load_tables(tables, embeddings, config).over(embeddings.image_ids[:size])
    batches = np.arange(size)[None]
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
    _, (path, *_) = find_tables(results)
    split, table, _, cycle, _, repetition = path.parents[1:7]
    inputs = {
        "config": results / "config.yaml",
        "dataset": results / "dataset" / "train.json",
        "images": results / "dataset" / "train.npy",
        "subsets": split / "subsets.json",
        "base": split / "base.safetensors",
    }
    if (labels := cycle / "pseudo_labels.json").exists():
        inputs["pseudo-labels"] = labels
    for path in inputs.values():
        if not path.exists():
            raise InputError(f"{path} is missing; run the workflow again")
    options = [part for name, path in inputs.items() for part in (f"--{name}", str(path))]
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "variants1-1.json")
        options += ["--table", table.name, "--seed", repetition.name.removeprefix("seed"), "--cycle=0", "--split=0"]
        whole = _run_variant([*options, "--first=1", "--last=1", "--output", output])
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
