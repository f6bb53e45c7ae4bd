"""Pages of finished experiments for docs/results: what was run, where, and what came out, with their figures.

Nothing is typed in. The scores of a page stand beside it, so that seeds of other machines can be added to them.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mgral.artefacts.files import read_csv, read_json, write_all
from mgral.config import BudgetConfig, Config, in_words, load_config
from mgral.errors import InputError, number_of
from mgral.evaluation.intervals import interval_in
from mgral.report.curves import costs_of, curve_figures
from mgral.report.detectors import TABLE, DetectorScores
from mgral.report.drawing import Table
from mgral.report.labels import counted, saved_table
from mgral.report.ranking import (
    beyond_counts,
    difference_figures,
    ranking_by_seed,
    ranking_table,
    rankings,
    subject_of,
)
from mgral.report.runs import JoinedRuns, Run, add_runs, files_of_runs, load_run
from mgral.report.spread import Spread, points, points_interval, points_with_spread

CURVES = "map_by_{}"
DIFFERENCES = "to_random_map_by_{}"
FIDELITY_FIGURE = "fidelity"
INTERVALS = "95 %: the outer ends of the paired bootstrap's and Student's interval. Clear: both exclude 0."
Row = Mapping[str, str]


@dataclass(frozen=True)
class Page:
    """A page, and the figures beside it."""

    text: str
    figures: Mapping[str, bytes]
    """By the name of the file."""
    joined: JoinedRuns


def write_results(folders: Sequence[Path], output: Path, add: bool = False) -> list[Path]:
    """Write a page for each experiment's folder, and a list of all pages that lie in `output`.

    Parameters
    ----------
    add
        Keep the seeds of a page that is there, and add those of the folder.

    Returns
    -------
    The pages.

    Raises
    ------
    InputError
        Before anything is written; it names the folder without a finished experiment, or what keeps seeds from being
        added.
    """
    pages: dict[str, Page] = {}
    for folder in folders:
        name = load_config(folder / "config.yaml").experiment
        joined = load_run(folder)
        if name in pages:
            raise InputError(
                f"{folder}: another folder is of {name}, too, and a page is written of one; give them one after the "
                "other, the later ones with --add"
            )
        pages[name] = results_page(folder, add_runs(joined, output / name) if add else joined)
    texts = {output / f"{name}.md": page.text.encode() for name, page in pages.items()}
    files_beside = {
        output / name / file_name: content
        for name, page in pages.items()
        for file_name, content in {**files_of_runs(page.joined), **page.figures}.items()
    }
    listed_pages = {path for path in output.glob("*.md") if path.name != "README.md"} | texts.keys()
    write_all({output / "README.md": _index(sorted(listed_pages)).encode(), **texts, **files_beside})
    return [*texts]


def results_page(folder: Path, joined: JoinedRuns) -> Page:
    """Return the Markdown page of a finished experiment, of which `folder` has the newest run."""
    config, detectors = joined.config, joined.detectors
    ranked = rankings(detectors)
    subject = subject_of(config, ranked[costs_of(config)[0], "map"])
    curves = {figure.stem: figure for figure in curve_figures(detectors, subject)}
    differences = {figure.stem: figure for figure in difference_figures(detectors, ranked)}
    shown_figures = [curves[CURVES.format(cost)] for cost in costs_of(config)]
    parts = [f"# {config.experiment}", _origin_table(joined, folder), _curves_section(detectors)]
    parts += [_image(config, CURVES.format(cost), f"Curves by labelled {cost}") for cost in costs_of(config)]
    parts += [_ranking_section(_rows(ranking_table(ranked)), config)]
    parts += _beyond_counts_sentences(_rows(ranking_by_seed(ranked, config.seeds)), config)
    if differences:
        stems = {cost: DIFFERENCES.format(cost) for cost in costs_of(config)}
        shown_figures += [differences[stem] for stem in stems.values()]
        title = "Differences to random by labelled"
        parts += [_image(config, stem, f"{title} {cost}") for cost, stem in stems.items()]
        parts += [_saved_section({cost: _rows(saved_table(detectors, cost)) for cost in costs_of(config)}, config)]
    figures = {f"{figure.stem}.svg": figure.drawing.svg.encode() for figure in shown_figures}
    if (folder / "fidelity" / "tables" / "fidelity.csv").exists():
        parts += [_fidelity_section(read_csv(folder / "fidelity" / "tables" / "fidelity.csv"))]
        parts += [_image(config, FIDELITY_FIGURE, "Fidelity")]
        file_name = f"{FIDELITY_FIGURE}.svg"
        figures[file_name] = (folder / "fidelity" / "figures" / file_name).read_bytes()
    return Page("\n\n".join([*parts, _cost_section(joined.runs)]) + "\n", figures, joined)


def _rows(table: Table) -> list[dict[str, str]]:
    """Return the rows of a table as its file has them."""
    return list(csv.DictReader(io.StringIO(table.csv.decode(), newline="")))


def _origin_table(joined: JoinedRuns, folder: Path) -> str:
    """Return commands, commits, machines, seeds and data."""
    config, runs = joined.config, joined.runs
    train, test = (read_json(folder / "dataset" / f"{split}.json") for split in ("train", "test"))
    width, height = config.detector.image_canvas.input_size
    proxy = "" if config.detector.command_gives is None else "external, by detector.command; its proxy is "
    rows = [
        *(("Commit (number of files)", _commit_counts(run)) for run in runs),
        *(("Machine", machine) for machine in dict.fromkeys(run.machine for run in runs)),
        ("Seeds", ", ".join(map(str, config.seeds))),
        (
            "Data",
            f"{len(train['images'])} training, {len(test['images'])} test images, {len(train['categories'])} classes",
        ),
        (
            "Labels",
            f"{config.initial} images at the start, {number_of(config.cycles, 'cycle')} of {in_words(config.budget)}",
        ),
        (
            "Detector",
            f"{proxy}{config.detector.trained.name}, {width} x {height} pixels, "
            f"{config.iterations.detector} iterations in cycle 0",
        ),
    ]
    commands = "\n".join(f"    {command}" for run in runs for command in run.commands)
    return f"{commands}\n\n" + markdown_table(("", ""), rows)


def _commit_counts(run: Run) -> str:
    return ", ".join(
        f"`{commit[:12]}{'-dirty' * commit.endswith('-dirty')}` ({count})" for commit, count in run.commits.items()
    )


def _curves_section(detectors: DetectorScores) -> str:
    config = detectors.config
    lines = [
        (name, *(points_with_spread(Spread.of(scores)) for scores in detectors.curve(name, "map").T))
        for name in config.strategies
    ]
    full = points_with_spread(Spread.of(detectors.full["map"]))
    if isinstance(config.budget, BudgetConfig):
        by = f"boxes that are paid for beside those of the {config.initial} initial images"
        counts = [cycle * config.budget.amount for cycle in range(config.cycles + 1)]
    else:
        by, counts = "labelled images", [config.initial + cycle * config.budget for cycle in range(config.cycles + 1)]
    title = f"## Curves\n\nmAP@[.5:.95] on the test images in %, mean over seeds ± standard deviation, by {by}."
    note = (
        f"A detector of all training images reaches {full} %. Labels and scores of each detector: "
        f"[{TABLE}.csv]({config.experiment}/{TABLE}.csv)."
    )
    return f"{title}\n\n{markdown_table(('strategy', *map(str, counts)), lines)}\n\n{note}"


def _ranking_section(rows: Sequence[Row], config: Config) -> str:
    """Return the places by images and by boxes side by side, in the order of the first."""
    by_cost = {
        cost: {row["strategy"]: row for row in rows if (row["labels"], row["score"]) == (cost, "map")}
        for cost in costs_of(config)
    }
    strategies = next(iter(by_cost.values()))
    lines = [
        (name, *chain.from_iterable(_place_cells(by_name[name]) for by_name in by_cost.values()))
        for name in strategies
    ]
    title = (
        "## Ranking\n\nBy the mean height of the curve of mAP, in %, over the labelled images and over the labelled "
        "boxes that all strategies share in a seed. Differences to random are paired by seed."
    )
    note = (
        f"{INTERVALS} With fewer than three seeds there are no intervals. An image without a box counts as one box."
    )
    columns = chain.from_iterable(
        (f"place by {cost}", "mean mAP", "to random", "95 % (outer ends)", "clear") for cost in by_cost
    )
    return f"{title}\n\n{markdown_table(('strategy', *columns), lines)}\n\n{note}"


def _beyond_counts_sentences(rows: Sequence[Row], config: Config) -> list[str]:
    """Return a sentence for each kind of labels on what a method adds to counting, where both were run."""
    sentences = []
    for cost in costs_of(config):
        by_seed: dict[str, list[float]] = {name: [] for name in config.strategies}
        for row in rows:
            if (row["labels"], row["score"]) == (cost, "map"):
                by_seed[row["strategy"]].append(float(row["mean"]))
        heights = {name: np.array(values) for name, values in by_seed.items()}
        sentences += [f"By {cost}, {sentence}" for sentence in beyond_counts(heights, config)]
    return sentences


def _place_cells(row: Row) -> tuple[str, ...]:
    difference_cells = _difference_cells(row, "to_random") if row["to_random"] else ("", "", "")
    return row["rank"], points(float(row["mean"])), *difference_cells


def _saved_section(rows: Mapping[str, Sequence[Row]], config: Config) -> str:
    """Return the labels with which each strategy reaches what random ends with, from the rows of each kind."""
    by_cost = {
        cost: {row["strategy"]: row for row in rows_of_cost if (row["target"], row["score"]) == ("random", "map")}
        for cost, rows_of_cost in rows.items()
    }
    seeds = len(config.seeds)
    lines = [
        (name, *chain.from_iterable(_labels_cells(by_name[name], seeds) for by_name in by_cost.values()))
        for name in config.strategies
    ]
    title = (
        "## Labels saved against random at equal mAP\n\nLabels when a curve first reaches the mAP that random ends "
        "with in the same seed, and how many fewer they are than random itself needs for it; mean over seeds."
    )
    note = (
        "Where a seed never reaches it, there is no mean, and at most so many are saved as if it got there right "
        f"after its last cycle. {INTERVALS}"
    )
    columns = chain.from_iterable((cost, f"{cost} saved", "95 % (outer ends)", "clear") for cost in by_cost)
    return f"{title}\n\n{markdown_table(('strategy', *columns), lines)}\n\n{note}"


def _labels_cells(row: Row, seeds: int) -> tuple[str, ...]:
    """Return labels needed, labels saved, their interval, and whether the difference is clear."""
    if not row["needed"]:
        bound = f"at most {counted(float(row['saved_at_most']), sign=True)}" if row["saved_at_most"] else ""
        return f"not reached in {seeds - int(row['reached'])} of {seeds} seeds", bound, "", ""
    needed = counted(float(row["needed"]))
    if not row["saved"]:
        return needed, "", "", ""
    interval, clear = interval_in(row, "saved"), _clear_cell(row, "saved")
    ends = " to ".join(counted(end, sign=True) for end in interval) if interval.known else "–"
    return needed, counted(float(row["saved"]), sign=True), ends, clear


def _difference_cells(row: Row, name: str) -> tuple[str, str, str]:
    interval = points_interval(interval_in(row, name), sign=True)
    return points(float(row[name]), sign=True), interval, _clear_cell(row, name)


def _clear_cell(row: Row, name: str) -> str:
    return {"True": "yes", "False": "no"}[row[f"{name}_clear"]] if interval_in(row, name).known else "–"


def _fidelity_section(rows: Sequence[Row]) -> str:
    """Return how well each kind of lookup ranks batches."""
    kinds = ("labels", "start", "embedding", "distance", "estimator")
    lines = [
        (
            *(row[kind] for kind in kinds),
            _correlation(row["spearman"]),
            f"{_correlation(row['low'])} to {_correlation(row['high'])}",
            _correlation(row["random"]),
            _correlation(row["strategies"]),
        )
        for row in rows
    ]
    title = (
        "## Fidelity\n\nSpearman's rank correlation of looked-up and true gains of candidate batches, with a 95 % "
        f"interval. At most {_correlation(rows[0]['ceiling'])} is possible, as gains are noisy. Gains are of test "
        "images; no choice is made by them. The last two columns are over the batches that were drawn at random, and "
        "over those that strategies chose."
    )
    return f"{title}\n\n{markdown_table((*kinds, 'Spearman', '95 %', 'random', 'strategies'), lines)}"


def _correlation(value: str) -> str:
    return f"{float(value):.2f}".replace("-", "−")


def _cost_section(runs: Sequence[Run]) -> str:
    jobs, wall, core = (sum(getattr(run, name) for run in runs) for name in ("jobs", "wall_s", "core_s"))
    memory = max(run.memory_mb for run in runs)
    return (
        f"## Cost\n\n{jobs} jobs, {wall / 60:.0f} minutes one after the other, {core / 60:.0f} minutes of processor "
        f"time, {memory:.0f} MB at most in a job."
    )


def _image(config: Config, stem: str, title: str) -> str:
    return f"![{title}]({config.experiment}/{stem}.svg)"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table as Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _index(pages: Iterable[Path]) -> str:
    lines = "\n".join(f"- [{path.stem}]({path.name})" for path in pages)
    return f"# Results\n\nWritten from finished experiments by `mgral results results/NAME ...`.\n\n{lines}\n"
