"""The page of `snakemake fidelity`: which kind of reward ranks batches as their true gains do."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mgral.artefacts.files import read_csv, read_json
from mgral.config import BudgetConfig, Config, in_words
from mgral.errors import InputError
from mgral.method.fidelity.correlation import Array, Fidelity, fidelity, noise_ceiling, spearman
from mgral.method.fidelity.lookups import Kind
from mgral.report.drawing import FAINT, INK, Figure, Table, draw, seed_colour
from mgral.report.rendering import render

CHOSEN_COLOUR = "#D55E00"


@dataclass(frozen=True)
class Trial:
    """A seed's candidate batches: true mAP on the test images, and the prediction of each kind of reward."""

    baseline: float
    """Mean mAP without any batch."""
    repeats: Array
    """mAP, [R, M]."""
    tables: Mapping[Kind, Array]
    """The prediction of each table, [reward splits, M]; without a table the same in each row."""

    @property
    def gains(self) -> Array:
        """Mean gain in mAP over the repeats, [M]."""
        mean: Array = self.repeats.mean(axis=0) - self.baseline
        return mean

    def looked_up(self, kind: Kind) -> Array:
        """Return the mean prediction of all tables of a kind, [M]: mAP, or without a table on a scale of its own."""
        mean: Array = self.tables[kind].mean(axis=0)
        return mean


@dataclass(frozen=True)
class FidelityRow:
    """A kind of reward and how well it does."""

    kind: Kind
    fidelity: Fidelity
    configured: bool
    """Whether the settings are the experiment's own."""


@dataclass(frozen=True)
class FidelityReport:
    """The page and the files beside it."""

    html: str
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    rows: tuple[FidelityRow, ...]
    """The best first."""
    ceiling: float


def load_trials(results: Path, config: Config) -> dict[int, Trial]:
    """Read the trials of an experiment by seed; raises InputError as `load_trial` does."""
    folders = {seed: results / f"seed{seed}" / "fidelity" / f"cycle{config.fidelity.cycle}" for seed in config.seeds}
    return {seed: load_trial(folder, config.fidelity_tables(), config.lut.splits) for seed, folder in folders.items()}


def load_trial(folder: Path, tables: Sequence[str], splits: int) -> Trial:
    """Read a seed's `gains*.json` and the `TABLE/split<s>/lookups.csv` of its tables.

    Raises
    ------
    InputError
        Where they do not fit together.
    """
    by_batch: dict[int, list[float]] = {}
    for path in sorted(folder.glob("gains*.json")):
        try:
            by_batch |= {one["batch"]: one["map"] for one in read_json(path)["gains"]}
        except (KeyError, TypeError) as error:
            raise InputError(f"{path} does not contain gains ({error}); run the step `gain` again") from None
    batches = list(range(1, len(by_batch)))
    if sorted(by_batch) != [0, *batches]:
        raise InputError(f"{folder} does not contain the gains of batches 0 to M; run `snakemake fidelity` again")
    looked_up: dict[Kind, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for table, split in product(tables, range(splits)):
        for row in read_csv(folder / table / f"split{split}" / "lookups.csv"):
            kind = Kind(*(row[name] for name in Kind._fields))
            looked_up[kind][int(row["batch"])].append(float(row["looked_up"]))
    # What is expected without a table stands beside every table.
    wanted = {kind: splits * (1 if kind.has_table else len(tables)) for kind in looked_up}
    if any(sorted(of) != batches or {*map(len, of.values())} != {wanted[kind]} for kind, of in looked_up.items()):
        raise InputError(
            f"{folder}: lookups are not of batches 1 to {len(batches)} in {splits} tables; "
            "run `snakemake fidelity` again"
        )
    return Trial(
        baseline=float(np.mean(by_batch[0])),
        repeats=np.array([by_batch[batch] for batch in batches]).T,
        tables={kind: np.array([values[batch] for batch in batches]).T for kind, values in looked_up.items()},
    )


def configured_kind(config: Config) -> Kind:
    """Return the kind of lookup of the experiment's own settings."""
    lut, reward = config.lut, config.reward
    embedding = "initial" if lut.refresh == "once" else "cycle"
    return Kind(lut.labels, lut.start, embedding, reward.distance, reward.estimator)


def fidelity_rows(trials: Sequence[Trial], configured: Kind, seed: int) -> list[FidelityRow]:
    """Return every kind of reward that all seeds have, the best first."""
    kinds = [kind for kind in trials[0].tables if all(kind in trial.tables for trial in trials)]
    gains = [trial.gains for trial in trials]
    rows = [
        FidelityRow(kind, fidelity([trial.looked_up(kind) for trial in trials], gains, seed), kind == configured)
        for kind in kinds
    ]
    return sorted(rows, key=lambda row: -row.fidelity.mean)


def build_fidelity_report(config: Config, trials: Mapping[int, Trial]) -> FidelityReport:
    """Draw the page from the trials by seed."""
    rows = fidelity_rows(list(trials.values()), configured_kind(config), config.seeds[0])
    ceilings = {seed: noise_ceiling(trial.repeats) for seed, trial in trials.items()}
    ceiling = float(np.mean(list(ceilings.values())))
    shown = [rows[0], *(row for row in rows[1:] if row.configured)]
    figures = (_forest(rows, ceiling), *(_scatter(row, trials) for row in shown))
    if config.lut.splits > 1:
        figures += tuple(_splits(row.kind, trials, config.lut.splits, ceiling) for row in rows if row.configured)
    gains = _gains_table(trials)
    html = render(
        "fidelity.html.jinja",
        {"correlation": _signed},
        config=config,
        rows=rows,
        ceiling=ceiling,
        ceilings=ceilings,
        figures=figures,
        trials=trials,
        batches=next(iter(trials.values())).repeats.shape[1],
        size=_size(config),
    )
    return FidelityReport(html, figures, (*(figure.table for figure in figures), gains), tuple(rows), ceiling)


def _size(config: Config) -> str:
    """Return how many images a batch has, in words."""
    budget = in_words(config.budget)
    asked = f"as many images as strategies are asked for with a budget of {budget}"
    return asked if isinstance(config.budget, BudgetConfig) else budget


def _forest(rows: Sequence[FidelityRow], ceiling: float) -> Figure:
    def paint(axes: Axes) -> None:
        for place, row in enumerate(rows):
            colour = CHOSEN_COLOUR if row.configured else INK
            axes.plot([row.fidelity.low, row.fidelity.high], [place, place], color=colour, linewidth=1.4)
            axes.plot(row.fidelity.mean, place, "o", color=colour, markersize=5)
        axes.axvline(0, color=FAINT, linewidth=1)
        axes.axvline(ceiling, color=FAINT, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(rows)), [str(row.kind) for row in rows])
        axes.set(xlabel="Spearman's correlation with the true gain", ylim=(len(rows) - 0.4, -0.6))

    stem = "fidelity"
    cells = [
        {
            **row.kind._asdict(),
            "spearman": row.fidelity.mean,
            "low": row.fidelity.low,
            "high": row.fidelity.high,
            "ceiling": ceiling,
            "configured": row.configured,
        }
        for row in rows
    ]
    caption = (
        "Mean over seeds with a 95 % interval (bootstrap over batches). Orange: the settings of this "
        "experiment. Dashed: the noise ceiling."
    )
    drawing = draw(stem, 8.0, 1.0 + 0.24 * len(rows), paint)
    table = Table(stem, pd.DataFrame(cells))
    best = rows[0]
    conclusion = (
        f"Best: {best.kind}, with a rank correlation of {_signed(best.fidelity.mean)}; "
        f"at most {_signed(ceiling)} is possible."
    )
    return Figure(stem, "How well rewards rank batches", conclusion, caption, drawing, table)


def _signed(correlation: float) -> str:
    return "–" if math.isnan(correlation) else f"{correlation:+.2f}".replace("-", "−")


def _scatter(row: FidelityRow, trials: Mapping[int, Trial]) -> Figure:
    def paint(axes: Axes) -> None:
        for place, (seed, trial) in enumerate(trials.items()):
            looked_up = (100 if row.kind.has_table else 1) * trial.looked_up(row.kind)
            gains, error = 100 * trial.gains, 100 * trial.repeats.std(axis=0, ddof=1) / math.sqrt(len(trial.repeats))
            colour = seed_colour(place)
            axes.errorbar(
                looked_up, gains, error, fmt="o", color=colour, markersize=4, linewidth=0.8, label=f"seed {seed}"
            )
        said = "looked-up mAP on the reward images (%)" if row.kind.has_table else str(row.kind)
        axes.set(xlabel=said, ylabel="true gain in mAP on test images (points)")
        axes.legend()

    stem = "looked_up_configured" if row.configured else "looked_up_best"
    cells = [
        {"seed": seed, "batch": batch, "looked_up": value, "gain": gain}
        for seed, trial in trials.items()
        for batch, (value, gain) in enumerate(zip(trial.looked_up(row.kind), trial.gains, strict=True), start=1)
    ]
    title = f"{'Configured' if row.configured else 'Best'}: {row.kind}"
    caption = "A point is a batch; bars are standard errors over repeated trainings."
    by_seed = ", ".join(
        f"{_signed(value)} in seed {seed}" for seed, value in zip(trials, row.fidelity.by_seed, strict=True)
    )
    conclusion = f"Rank correlation of looked-up and true gains: {by_seed}."
    drawing = draw(stem, 5.0, 3.7, paint)
    return Figure(stem, title, conclusion, caption, drawing, Table(stem, pd.DataFrame(cells)))


def _splits(kind: Kind, trials: Mapping[int, Trial], splits: int, ceiling: float) -> Figure:
    """Draw how well the mean of n tables ranks batches, for every n up to all of them."""
    by_seed = {
        seed: [
            float(np.mean([spearman(said, trial.gains) for said in _means_of(trial.tables[kind], count)]))
            for count in range(1, splits + 1)
        ]
        for seed, trial in trials.items()
    }

    def paint(axes: Axes) -> None:
        counts = range(1, splits + 1)
        for place, (seed, values) in enumerate(by_seed.items()):
            axes.plot(counts, values, "o-", color=seed_colour(place), markersize=4, linewidth=1, label=f"seed {seed}")
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
    caption = (
        "The configured lookup with fewer tables: the mean over each group of consecutive reward splits. Dashed: "
        "the noise ceiling."
    )
    table = Table(stem, pd.DataFrame(cells))
    one, every = (float(np.mean([values[place] for values in by_seed.values()])) for place in (0, -1))
    conclusion = f"One table ranks batches with a correlation of {_signed(one)}, all {splits} with {_signed(every)}."
    title = "How many reward splits are needed"
    return Figure(stem, title, conclusion, caption, draw(stem, 5.0, 3.7, paint), table)


def _means_of(tables: Array, count: int) -> Array:
    """Return the means of `count` rows one after the other, beginning at each row in turn; [T, M] from [T, M]."""
    means: Array = np.mean([np.roll(tables, -shift, axis=0) for shift in range(count)], axis=0)
    return means


def _gains_table(trials: Mapping[int, Trial]) -> Table:
    rows = [
        {"seed": seed, "batch": batch, "repeat": repeat, "map": value, "baseline": trial.baseline}
        for seed, trial in trials.items()
        for repeat, values in enumerate(trial.repeats)
        for batch, value in enumerate(values, start=1)
    ]
    return Table("gains", pd.DataFrame(rows))
