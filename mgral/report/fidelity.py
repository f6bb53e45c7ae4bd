"""The page of `snakemake fidelity`: which kind of reward ranks batches as their true gains do."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mgral.config import BudgetConfig, Config, in_words
from mgral.method.fidelity.correlation import Fidelity, spearman
from mgral.method.fidelity.lookups import LookupKind
from mgral.report.drawing import FAINT, INK, Figure, Table, draw, seed_colour
from mgral.report.fidelity_trials import (
    PARTS,
    CountsComparison,
    FidelityRow,
    Trial,
    ceilings_by_seed,
    compare_with_counts,
    configured_kind,
    fidelity_rows,
)
from mgral.report.rendering import render
from mgral.report.spread import signed

CHOSEN_COLOUR = "#D55E00"
ROUNDING = 1e-9
"""Up to which a difference of correlations is none."""
MARKERS = {"random": "o", "strategies": "^"}


@dataclass(frozen=True)
class FidelityReport:
    """The page and the files beside it."""

    html: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    rows: tuple[FidelityRow, ...]
    """The best over all batches first."""
    comparisons: Mapping[str, CountsComparison]
    """The reward in use beside counts alone, for each of `PARTS`."""
    sentence: str
    """What they say over all batches."""


def build_fidelity_report(config: Config, trials: Mapping[int, Trial]) -> FidelityReport:
    """Draw the page from the trials by seed."""
    all_trials, seed = list(trials.values()), config.seeds[0]
    rows = fidelity_rows(all_trials, configured_kind(config), seed)
    by_seed = ceilings_by_seed(trials)
    ceilings = {part: float(np.mean(list(seed_ceilings.values()))) for part, seed_ceilings in by_seed.items()}
    comparisons = compare_with_counts(rows, all_trials, ceilings, seed)
    shown_rows = [rows[0], *(row for row in rows[1:] if row.configured)]
    figures = (_ranking_figure(rows, ceilings), *(_gains_figure(row, trials) for row in shown_rows))
    if config.lut.splits > 1:
        figures += tuple(_splits_figure(row.kind, trials, ceilings["all"]) for row in rows if row.configured)
    sentence = comparison_in_words(comparisons["all"])
    html = render(
        "fidelity.html.jinja",
        {"correlation": signed, "percent": _percent},
        config=config,
        rows=rows,
        parts=PARTS,
        comparisons=comparisons,
        sentence=sentence,
        counts=next(row.kind for row in rows if not row.kind.has_table),
        used=configured_kind(config),
        by_prior=sum(configured_kind(config) in trial.by_prior for trial in all_trials),
        ceilings=by_seed["all"],
        sizes={part: int(all_trials[0].of_part(part).sum()) for part in PARTS},
        sources=list(
            dict.fromkeys(candidate.source for candidate in all_trials[0].candidates if not candidate.drawn)
        ),
        undecided=sum(candidate.reason is not None for trial in all_trials for candidate in trial.candidates),
        figures=figures,
        size=_batch_size_in_words(config),
    )
    tables = (*(figure.table for figure in figures), _comparison_table(comparisons), _gains_table(trials))
    return FidelityReport(html, figures, tables, tuple(rows), comparisons, sentence)


def comparison_in_words(comparison: CountsComparison) -> str:
    """Say whether the reward in use beats counts alone, and what part of the noise ceiling it reaches."""
    gap = comparison.difference
    if gap.low > ROUNDING:
        verdict = "The reward in use ranks batches better than counts alone, by"
    elif gap.high < -ROUNDING:
        verdict = "The reward in use ranks batches worse than counts alone, by"
    else:
        verdict = "Whether the reward in use ranks batches better than counts alone stays open, with a difference of"
    verdict += f" {signed(gap.mean)} in rank correlation (95 %: {signed(gap.low)} to {signed(gap.high)})"
    if comparison.reached is None:
        return f"{verdict}; repeated trainings disagree so much that no reward could rank these batches."
    return f"{verdict}; it reaches {_percent(comparison.reached)} of the noise ceiling, {signed(comparison.ceiling)}."


def _batch_size_in_words(config: Config) -> str:
    """Return how many images a batch has, in words."""
    budget = in_words(config.budget)
    size = f"as many images as strategies are asked for with a budget of {budget}"
    return size if isinstance(config.budget, BudgetConfig) else budget


def _ranking_figure(rows: Sequence[FidelityRow], ceilings: Mapping[str, float]) -> Figure:
    """Draw how well each kind of reward ranks batches, the best first."""
    ceiling = ceilings["all"]

    def paint(axes: Axes) -> None:
        for y, row in enumerate(rows):
            colour = CHOSEN_COLOUR if row.configured else INK
            axes.plot([row.fidelity.low, row.fidelity.high], [y, y], color=colour, linewidth=1.4)
            axes.plot(row.fidelity.mean, y, "o", color=colour, markersize=5)
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.axvline(ceiling, color=FAINT, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(rows)), [str(row.kind) for row in rows])
        axes.set(xlabel="Spearman's correlation with the true gain", ylim=(len(rows) - 0.4, -0.6))

    stem = "fidelity"
    cells = [
        {
            **row.kind._asdict(),
            **_interval_cells("spearman", row.fidelity),
            "ceiling": ceiling,
            "configured": row.configured,
            **_interval_cells("random", row.by_part["random"]),
            "random_ceiling": ceilings["random"],
            **_interval_cells("strategies", row.by_part["strategies"]),
            "strategies_ceiling": ceilings["strategies"],
        }
        for row in rows
    ]
    caption = (
        "Over all batches: mean over seeds with a 95 % interval (bootstrap over batches). Orange: the settings of "
        "this experiment. Dashed: the noise ceiling."
    )
    drawing = draw(stem, 8.0, 1.0 + 0.24 * len(rows), paint)
    table = Table(stem, pd.DataFrame(cells))
    best = rows[0]
    possible = f"at most {signed(ceiling)} is possible" if ceiling else "by chance, as repeated trainings disagree"
    conclusion = f"Best: {best.kind}, with a rank correlation of {signed(best.fidelity.mean)}; {possible}."
    return Figure(stem, "How well rewards rank batches", conclusion, caption, drawing, table)


def _interval_cells(name: str, fidelity: Fidelity) -> dict[str, float]:
    prefix = "" if name == "spearman" else f"{name}_"
    return {name: fidelity.mean, f"{prefix}low": fidelity.low, f"{prefix}high": fidelity.high}


def _percent(part: float | None) -> str:
    return "–" if part is None else f"{100 * part:.0f} %".replace("-", "−")


def _gains_figure(row: FidelityRow, trials: Mapping[int, Trial]) -> Figure:
    """Draw the true gain of each batch by its looked-up reward."""

    def paint(axes: Axes) -> None:
        for position, (seed, trial) in enumerate(trials.items()):
            looked_up = (100 if row.kind.has_table else 1) * trial.looked_up(row.kind)
            gains, error = 100 * trial.gains, 100 * trial.repeats.std(axis=0, ddof=1) / math.sqrt(len(trial.repeats))
            colour = seed_colour(position)
            for part, marker in MARKERS.items():
                in_part = trial.of_part(part)
                label = f"seed {seed}, {PARTS[part]}"
                axes.errorbar(
                    looked_up[in_part],
                    gains[in_part],
                    error[in_part],
                    fmt=marker,
                    color=colour,
                    markersize=5,
                    linewidth=0.8,
                    label=label,
                )
        x_label = "looked-up mAP on the reward images (%)" if row.kind.has_table else str(row.kind)
        axes.set(xlabel=x_label, ylabel="true gain in mAP on test images (points)")
        axes.legend()

    stem = "looked_up_configured" if row.configured else "looked_up_best"
    cells = [
        {"seed": seed, "batch": candidate.batch, "source": candidate.source, "looked_up": value, "gain": gain}
        for seed, trial in trials.items()
        for candidate, value, gain in zip(trial.candidates, trial.looked_up(row.kind), trial.gains, strict=True)
    ]
    title = f"{'Configured' if row.configured else 'Best'}: {row.kind}"
    caption = (
        "A mark is a batch, a circle one drawn at random and a triangle one chosen by a strategy; bars are standard "
        "errors over repeated trainings."
    )
    by_seed = ", ".join(
        f"{signed(value)} in seed {seed}" for seed, value in zip(trials, row.fidelity.by_seed, strict=True)
    )
    conclusion = f"Rank correlation of looked-up and true gains: {by_seed}."
    drawing = draw(stem, 5.0, 3.7, paint)
    return Figure(stem, title, conclusion, caption, drawing, Table(stem, pd.DataFrame(cells)))


def _splits_figure(kind: LookupKind, trials: Mapping[int, Trial], ceiling: float) -> Figure:
    """Draw how well the tables of the first n reward splits together rank batches, for every n."""
    by_seed = {seed: spearman(trial.tables[kind], trial.gains[None]).tolist() for seed, trial in trials.items()}
    splits = min(map(len, by_seed.values()))

    def paint(axes: Axes) -> None:
        counts = range(1, splits + 1)
        for index, (seed, values) in enumerate(by_seed.items()):
            axes.plot(counts, values, "o-", color=seed_colour(index), markersize=4, linewidth=1, label=f"seed {seed}")
        axes.plot(counts, np.mean(list(by_seed.values()), axis=0), "o-", color=INK, linewidth=2.4, label="mean")
        axes.axhline(ceiling, color=FAINT, linewidth=1, linestyle="--")
        axes.set(xlabel="reward splits, with a table each", ylabel="Spearman's correlation", xticks=counts)
        axes.legend()

    stem = "splits"
    cells = [
        {"seed": seed, "splits": count, "spearman": value}
        for seed, values in by_seed.items()
        for count, value in enumerate(values, start=1)
    ]
    caption = "The configured lookup with the tables of the first reward splits only. Dashed: the noise ceiling."
    table = Table(stem, pd.DataFrame(cells))
    one_table, all_tables = (float(np.mean([values[index] for values in by_seed.values()])) for index in (0, -1))
    conclusion = (
        f"One table ranks batches with a correlation of {signed(one_table)}, all {splits} with {signed(all_tables)}."
    )
    title = "How many reward splits are needed"
    return Figure(stem, title, conclusion, caption, draw(stem, 5.0, 3.7, paint), table)


def _comparison_table(comparisons: Mapping[str, CountsComparison]) -> Table:
    rows = [
        {
            "batches": part,
            **_interval_cells("reward", comparison.reward),
            **_interval_cells("counts", comparison.counts),
            **_interval_cells("difference", comparison.difference),
            "ceiling": comparison.ceiling,
            "reached": comparison.reached,
        }
        for part, comparison in comparisons.items()
    ]
    return Table("counts_alone", pd.DataFrame(rows))


def _gains_table(trials: Mapping[int, Trial]) -> Table:
    rows = [
        {"seed": seed, "batch": batch, "repeat": repeat, "map": value, "baseline": trial.baseline}
        for seed, trial in trials.items()
        for repeat, values in enumerate(trial.repeats)
        for batch, value in enumerate(values, start=1)
    ]
    return Table("gains", pd.DataFrame(rows))
