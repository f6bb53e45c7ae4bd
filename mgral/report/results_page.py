"""Pages of finished experiments for docs/results: what was run, where, and what came out, with their figures.

Everything is read from the experiment's folder: config.yaml, provenance, tables and timings. Nothing is typed in.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_csv, write_bytes
from mgral.artefacts.integrity import RECORDS
from mgral.config import BudgetConfig, Config, in_words, load_config
from mgral.data.derive import load_settings
from mgral.errors import InputError
from mgral.report.bootstrap import Interval
from mgral.report.curves import COSTS, costs_of
from mgral.report.devices import devices_used
from mgral.report.labels import counted
from mgral.report.ranking import beyond_counts
from mgral.report.results import FULL_DATA
from mgral.report.spread import points, points_interval
from mgral.report.timings import RUNS

CURVES = "map_by_{}"
DIFFERENCES = "to_random_map_by_{}"
FIDELITY_FIGURE = "fidelity"
Row = Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """What made a finished experiment."""

    commands: Mapping[str, str]
    """Command that made each target: `all`, `fidelity`."""
    commits: Mapping[str, int]
    """Artefacts by the commit that made them."""
    machine: Mapping[str, str]
    packages: Mapping[str, str]


def write_results(folders: Sequence[Path], output: Path) -> list[Path]:
    """Write a page for each experiment's folder, and a list of all pages that lie in `output`.

    Returns
    -------
    The pages.

    Raises
    ------
    InputError
        Naming the folder that holds no finished experiment, before anything is written.
    """
    pages = {load_config(folder / "config.yaml").experiment: (folder, results_page(folder)) for folder in folders}
    for name, (folder, page) in pages.items():
        write_bytes(output / f"{name}.md", page.encode())
        for figure in _figures(folder):
            (output / name).mkdir(exist_ok=True)
            shutil.copyfile(figure, output / name / figure.name)
    write_bytes(output / "README.md", _index(output).encode())
    return [output / f"{name}.md" for name in pages]


def results_page(folder: Path) -> str:
    """Return the Markdown page of a finished experiment."""
    given, run = load_config(folder / "config.yaml"), _load_run(folder)
    config = load_settings(given, folder, given.seeds[0])
    tables = folder / "tables"
    parts = [f"# {config.experiment}", _made_by(config, run, folder)]
    parts += [_curves(read_csv(tables / "map_by_images.csv"), config)]
    parts += [_image(config, CURVES.format(cost), f"Curves by labelled {cost}") for cost in costs_of(config)]
    parts += [_ranking(read_csv(tables / "ranking.csv"), config)]
    parts += _beyond_counts(read_csv(tables / "ranking_by_seed.csv"), config)
    if all(path.exists() for path in _differences(folder)):
        what = "Differences to random by labelled"
        parts += [_image(config, DIFFERENCES.format(cost), f"{what} {cost}") for cost in costs_of(config)]
        parts += [_saved(read_csv(tables / "labels_needed.csv"), config)]
    if (folder / "fidelity" / "tables" / "fidelity.csv").exists():
        parts += [_fidelity(read_csv(folder / "fidelity" / "tables" / "fidelity.csv"), run)]
        parts += [_image(config, FIDELITY_FIGURE, "Fidelity")]
    return "\n\n".join([*parts, _cost(folder)]) + "\n"


def _load_run(folder: Path) -> Run:
    record = folder / RECORDS / "report.html.json"
    runs = folder / "timings" / RUNS
    if not record.exists() or not runs.exists():
        raise InputError(f"{folder} holds no finished experiment run by Snakemake; run it to its report first")
    made = json.loads(record.read_bytes())
    records = [json.loads(path.read_bytes()) for path in (folder / RECORDS).rglob("*.json")]
    commits = Counter(str(one["commit"]) for one in records)
    trained = next((one for one in records if one["step"] == "detector"), made)
    return Run(json.loads(runs.read_bytes()), commits, trained["machine"], made["packages"])


def _made_by(config: Config, run: Run, folder: Path) -> str:
    """Return command, commit, machine, seeds and data."""
    train, test = (json.loads((folder / "dataset" / f"{split}.json").read_bytes()) for split in ("train", "test"))
    width, height = config.detector.image_canvas.input_size
    proxy = "" if config.detector.command_gives is None else "external, by detector.command; its proxy is "
    commits = [
        f"`{commit[:12]}{'-dirty' * commit.endswith('-dirty')}` ({count})" for commit, count in run.commits.items()
    ]
    gpu = devices_used(folder) or run.machine["gpu"]
    machine = f"{run.machine['system']}, {run.machine['vector_instructions']}, GPU {gpu}"
    rows = [
        ("Commit (artefacts)", ", ".join(commits)),
        ("Machine", f"{machine}, Python {run.machine['python']}, torch {run.packages['torch']}"),
        ("Seeds", ", ".join(map(str, config.seeds))),
        (
            "Data",
            f"{len(train['images'])} training, {len(test['images'])} test images, {len(train['categories'])} classes",
        ),
        ("Labels", f"{config.initial} images at the start, {config.cycles} cycles of {in_words(config.budget)}"),
        (
            "Detector",
            f"{proxy}{config.detector.trained.name}, {width} x {height} pixels, "
            f"{config.iterations.detector} iterations in cycle 0",
        ),
    ]
    commands = "\n".join(f"    {command}" for command in run.commands.values())
    return f"{commands}\n\n" + _table(("", ""), rows)


def _curves(rows: Sequence[Row], config: Config) -> str:
    means = [row for row in rows if row["seed"] == "mean"]
    lines = [
        (name, *map(_with_deviation, sorted(of, key=lambda row: int(row["cycle"]))))
        for name in config.strategies
        for of in [[row for row in means if row["strategy"] == name]]
    ]
    (full,) = [row for row in means if row["strategy"] == FULL_DATA]
    if isinstance(config.budget, BudgetConfig):
        by = f"boxes that are paid for beside those of the {config.initial} initial images"
        at = [cycle * config.budget.amount for cycle in range(config.cycles + 1)]
    else:
        by, at = "labelled images", [config.initial + cycle * config.budget for cycle in range(config.cycles + 1)]
    title = f"## Curves\n\nmAP@[.5:.95] on the test images in %, mean over seeds ± standard deviation, by {by}."
    note = (
        f"A detector of all training images reaches {_with_deviation(full)} %. Numbers: `tables/map_by_images.csv`, "
        "`tables/map_by_boxes.csv`."
    )
    return f"{title}\n\n{_table(('strategy', *map(str, at)), lines)}\n\n{note}"


def _with_deviation(row: Row) -> str:
    mean = points(float(row["map"]))
    return f"{mean} ± {points(float(row['std']))}" if row["std"] else mean


def _ranking(rows: Sequence[Row], config: Config) -> str:
    """Return the places by images and by boxes side by side, in the order of the first."""
    by_cost = {
        cost: {row["strategy"]: row for row in rows if (row["labels"], row["score"]) == (cost, "map")}
        for cost in costs_of(config)
    }
    strategies = next(iter(by_cost.values()))
    lines = [(name, *chain.from_iterable(_place(of[name]) for of in by_cost.values())) for name in strategies]
    title = (
        "## Ranking\n\nBy the mean height of the curve of mAP, in %, over the labelled images and over the labelled "
        "boxes that all strategies share in a seed. Differences to random are paired by seed."
    )
    note = (
        "Separable: both the paired bootstrap's and Student's interval exclude 0. "
        "With fewer than three seeds there are no intervals. An image without a box counts as one box. "
        "Numbers: `tables/ranking.csv`."
    )
    columns = chain.from_iterable(
        (f"place by {cost}", "mean mAP", "to random", "95 % (bootstrap)", "separable") for cost in by_cost
    )
    return f"{title}\n\n{_table(('strategy', *columns), lines)}\n\n{note}"


def _beyond_counts(rows: Sequence[Row], config: Config) -> list[str]:
    """Return a sentence for each kind of labels on what a method adds to counting, where both were run."""
    found = []
    for cost in costs_of(config):
        by_seed: dict[str, list[float]] = {name: [] for name in config.strategies}
        for row in rows:
            if (row["labels"], row["score"]) == (cost, "map"):
                by_seed[row["strategy"]].append(float(row["mean"]))
        heights = {name: np.array(values) for name, values in by_seed.items()}
        found += [f"By {cost}, {sentence}" for sentence in beyond_counts(heights, config)]
    return found


def _place(row: Row) -> tuple[str, ...]:
    compared = _difference(row, "to_random") if row["to_random"] else ("", "", "")
    return row["rank"], points(float(row["mean"])), *compared


def _saved(rows: Sequence[Row], config: Config) -> str:
    """Return the labels with which each strategy reaches what random ends with."""
    by_cost = {
        cost: {
            row["strategy"]: row
            for row in rows
            if (row["target"], row["score"], row["labels"], row["seed"]) == ("random", "map", cost, "mean")
        }
        for cost in costs_of(config)
    }
    seeds = len(config.seeds)
    lines = [
        (name, *chain.from_iterable(_labels_cells(of[name], seeds) for of in by_cost.values()))
        for name in config.strategies
    ]
    title = (
        "## Labels saved against random at equal mAP\n\nLabels when a curve first reaches the mAP that random ends "
        "with in the same seed, and how many fewer they are than random itself needs for it; mean over seeds."
    )
    note = (
        "Where a seed never reaches it, there is no mean, and at most so many are saved as if it got there right "
        "after its last cycle. Numbers: `tables/labels_needed.csv`."
    )
    columns = chain.from_iterable((cost, f"{cost} saved", "95 % (bootstrap)", "separable") for cost in by_cost)
    return f"{title}\n\n{_table(('strategy', *columns), lines)}\n\n{note}"


def _labels_cells(row: Row, seeds: int) -> tuple[str, ...]:
    if not row["needed"]:
        bound = f"at most {counted(float(row['saved_at_most']), sign=True)}" if row["saved_at_most"] else ""
        return f"not reached in {seeds - int(row['reached'])} of {seeds} seeds", bound, "", ""
    needed = counted(float(row["needed"]))
    if not row["saved"]:
        return needed, "", "", ""
    saved, *ends = (counted(float(row[name] or "nan"), sign=True) for name in ("saved", "saved_low", "saved_high"))
    separable = {"True": "yes", "False": "no"}[row["saved_separable"]] if row["saved_low"] else "–"
    return needed, saved, " to ".join(ends) if row["saved_low"] else "–", separable


def _difference(row: Row, name: str) -> tuple[str, str, str]:
    ends = [row[f"{name}_low"], row[f"{name}_high"]]
    interval = points_interval(Interval(*map(float, ends)), sign=True) if all(ends) else "–"
    separable = {"True": "yes", "False": "no"}[row[f"{name}_separable"]] if all(ends) else "–"
    return points(float(row[name]), sign=True), interval, separable


def _fidelity(rows: Sequence[Row], run: Run) -> str:
    """Return how well each kind of lookup ranks batches."""
    kinds = ("labels", "start", "embedding", "distance", "estimator")
    lines = [
        (
            *(row[kind] for kind in kinds),
            _correlation(row["spearman"]),
            f"{_correlation(row['low'])} to {_correlation(row['high'])}",
        )
        for row in rows
    ]
    title = (
        "## Fidelity\n\nSpearman's rank correlation of looked-up and true gains of candidate batches, with a 95 % "
        f"interval. At most {_correlation(rows[0]['ceiling'])} is possible, as gains are noisy. Gains are of test "
        "images; no choice is made by them."
    )
    return f"{title}\n\n{_table((*kinds, 'Spearman', '95 %'), lines)}"


def _correlation(value: str) -> str:
    return f"{float(value):.2f}".replace("-", "−")


def _cost(folder: Path) -> str:
    rows = read_csv(folder / "timings" / "costs_by_step.csv")
    core = sum(float(row["core_s"]) for row in rows if row["core_s"])
    wall = sum(float(row["wall_s"]) for row in rows)
    memory = max(float(row["peak_memory_mb"]) for row in rows if row["peak_memory_mb"])
    jobs = sum(int(row["jobs"]) for row in rows)
    return (
        f"## Cost\n\n{jobs} jobs, {wall / 60:.0f} minutes one after the other, {core / 60:.0f} minutes of processor "
        f"time, {memory:.0f} MB at most in a job (`timings/costs_by_step.csv`)."
    )


def _image(config: Config, stem: str, title: str) -> str:
    return f"![{title}]({config.experiment}/{stem}.svg)"


def _figures(folder: Path) -> list[Path]:
    found = [folder / "figures" / f"{CURVES.format(cost)}.svg" for cost in COSTS]
    found += [*_differences(folder), folder / "fidelity" / "figures" / f"{FIDELITY_FIGURE}.svg"]
    return [path for path in found if path.exists()]


def _differences(folder: Path) -> list[Path]:
    return [folder / "figures" / f"{DIFFERENCES.format(cost)}.svg" for cost in COSTS]


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _index(output: Path) -> str:
    pages = sorted(path for path in output.glob("*.md") if path.name != "README.md")
    lines = "\n".join(f"- [{path.stem}]({path.name})" for path in pages)
    return f"# Results\n\nWritten from finished experiments by `mgral results results/NAME ...`.\n\n{lines}\n"
