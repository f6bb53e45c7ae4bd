"""Benchmark `accuracy`: what detectors reach with the initial and with all labels of an experiment."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import click

from mgral.artefacts.integrity import record_path
from mgral.config import Config, load_config
from mgral.data.derive import load_settings
from mgral.errors import InputError
from mgral.report.results_page import markdown_table

ROUNDS = ("initial", "full")
"""Rounds of the pipeline whose detectors learn from the initial labels, and from all."""
COLUMNS = (
    "experiment",
    "detector",
    "input",
    "labelled",
    "iterations",
    "AP50",
    "mAP",
    "seeds",
    "minutes",
    "MB",
    "commit",
)
SCORES = ("AP50", "mAP", "minutes", "MB")
INTRODUCTION = """# Detectors on real data

AP50 and mAP@[.5:.95] in %, on the test images of each data set, with the initial labels of an experiment and with
all; mean over the seeds, ± their standard deviation where there are several. Minutes of processor time and memory are
those of one training. No choice was made by test images. Where an experiment stands more than once, the settings of
its commits differ ([048](../decisions/048-settings-of-fine-tuning.md)). The numbers of a data set are from

    snakemake results/NAME/seed0/{initial,full}/cycle0/metrics.json --cores all --configfile config/NAME.yaml

and this page of

    python -m benchmarks accuracy FOLDERS --output docs/results/detectors.md

which keeps the rows of experiments that are not among the folders.
"""


class Trained(NamedTuple):
    """A detector of the seed that was trained and scored."""

    labelled: int
    iterations: int
    ap50: float
    map: float
    seconds: float
    memory_mb: float
    commit: str


@click.command("accuracy")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")
def command(folders: Sequence[Path], output: Path) -> None:
    """Write a page of what detectors reach on test images, from folders `results/NAME` of experiments.

    The rows of a page that is there stay, but for those of the same training.
    """
    rows = {_training(line): line for line in _rows(output)}
    rows |= {_training(line): line for folder in folders for line in _lines(folder)}
    lines = [rows[key] for key in sorted(rows, key=_place)]
    output.write_text(f"{INTRODUCTION}\n{markdown_table(COLUMNS, lines)}\n", encoding="utf-8")


def _rows(page: Path) -> list[tuple[str, ...]]:
    """Return the rows of a page that is there already."""
    if not page.exists():
        return []
    table = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table]


def _training(line: tuple[str, ...]) -> tuple[str, ...]:
    """Return what tells a training from others: all but its scores and costs."""
    return tuple(value for name, value in zip(COLUMNS, line, strict=True) if name not in SCORES)


def _place(training: tuple[str, ...]) -> tuple[str | int, ...]:
    """Sort key: each experiment, the small detector first, few labels first."""
    experiment, detector, _, labelled, *_ = training
    return experiment, detector != "small_ssd", detector, int(labelled), *training


def _lines(folder: Path) -> Iterator[tuple[str, ...]]:
    config, found = load_config(folder / "config.yaml"), False
    for name in ROUNDS:
        places = {seed: folder / f"seed{seed}" / name / "cycle0" for seed in config.seeds}
        trained = {seed: _trained(place) for seed, place in places.items() if (place / "metrics.json").exists()}
        if trained:
            found = True
            yield _line(folder, config, trained)
    if not found:
        raise InputError(f"{folder} has no scored detector of the rounds {' and '.join(ROUNDS)}; run these first")


def _trained(place: Path) -> Trained:
    scores = json.loads((place / "metrics.json").read_bytes())
    labelled = json.loads((place / "labelled.json").read_bytes())["images"]
    rows = (place / "training.csv").read_text("utf-8").splitlines()
    record = record_path(place / "detector.safetensors")
    assert record is not None
    made: dict[str, Any] = json.loads(record.read_bytes())
    cost = made["processor_seconds"], made["peak_memory_mb"], str(made["commit"])
    return Trained(len(labelled), len(rows) - 1, 100 * scores["ap50"], 100 * scores["map"], *cost)


def _line(folder: Path, config: Config, trained: dict[int, Trained]) -> tuple[str, ...]:
    seeds, of_seeds = list(trained), list(trained.values())
    width, height = load_settings(config, folder, seeds[0]).detector.image_canvas.input_size
    first = of_seeds[0]
    return (
        folder.name,
        " ".join([config.detector.name, getattr(config.detector, "backbone", "")]).strip(),
        f"{width} x {height}",
        str(first.labelled),
        str(first.iterations),
        _spread([one.ap50 for one in of_seeds]),
        _spread([one.map for one in of_seeds]),
        ", ".join(map(str, seeds)),
        f"{mean(one.seconds for one in of_seeds) / 60:.1f}",
        f"{max(one.memory_mb for one in of_seeds):.0f}",
        f"`{first.commit[:12]}`",
    )


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
