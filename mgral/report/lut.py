"""How well the lookup tables predict each other and themselves, and how much their variants differ."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy import stats

from mgral.artefacts.seeds import derive_seed
from mgral.config import DEFAULT, Estimator
from mgral.method.lut.regression import ERROR_RATE
from mgral.report.detectors import Array
from mgral.report.drawing import (
    FAINT,
    INK,
    SEED_COLOURS,
    Figure,
    Table,
    draw,
    percent_tick,
    seed_colour,
)
from mgral.report.ranking import listed
from mgral.report.results import COUNTS_ALONE, INITIAL, TABLE, LookupTables, Results, notes_of
from mgral.report.spread import points, signed

TITLES: dict[Estimator, str] = {
    "nearest": "the nearest variant",
    "kernel": "the kernel",
    "regression": "the regression",
}
_SHUFFLES = 10_000
_PREDICTION_TITLES = {
    "agreement": ("Predicted by the other reward splits", "gain in mAP"),
    "leave_one_out": ("Left out", "mAP"),
}
"""What a table of predictions shows, and the quantity."""
_MARKERS = "os^Dv"
_PREDICTED = ["estimator", "measured", "predicted"]


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation within tables, averaged over them, and its one-sided permutation p-value."""

    mean: float
    """NaN where no table has two different values on both sides."""
    p_value: float
    tables: int
    variants: int
    """Points in all tables."""


def rank_correlation(measured: Sequence[Array], predicted: Sequence[Array], seed: int) -> RankCorrelation:
    """Correlate within each table and average.

    Tables of different seeds and splits are measured on different reward images, so that pooling them would mistake
    the difference between them for skill. The p-value is the share of shuffles of `measured` within tables whose
    average is as high.
    """
    ranked = _ranked(measured, predicted)
    variants = sum(len(m) for m in measured)
    if not ranked:
        return RankCorrelation(np.nan, np.nan, 0, variants)
    mean = _mean_product(ranked)
    generator = np.random.default_rng(derive_seed(seed, "report", "permutation"))
    shuffled = np.mean([generator.permuted(np.tile(m, (_SHUFFLES, 1)), axis=1) @ p for m, p in ranked], axis=0)
    # Rounding must not turn a shuffle that equals the observed order into one below it.
    as_high = int((shuffled >= mean - 1e-9).sum())
    return RankCorrelation(mean, (as_high + 1) / (_SHUFFLES + 1), len(ranked), variants)


def _ranked(measured: Sequence[Array], predicted: Sequence[Array]) -> list[tuple[Array, Array]]:
    """Return standardised ranks of the tables that have two different values on both sides."""
    return [
        (_standardised_ranks(m), _standardised_ranks(p))
        for m, p in zip(measured, predicted, strict=True)
        if len(np.unique(m)) > 1 and len(np.unique(p)) > 1
    ]


def _mean_product(ranked: Sequence[tuple[Array, Array]]) -> float:
    """Return Spearman's correlation, averaged over tables."""
    return float(np.mean([m @ p for m, p in ranked]))


def _standardised_ranks(values: Array) -> Array:
    ranks = stats.rankdata(values)
    centred = ranks - ranks.mean()
    standardised: Array = centred / np.linalg.norm(centred)
    return standardised


@dataclass(frozen=True)
class TableSection:
    """The part of the page about the tables of the same settings."""

    name: str
    strategies: tuple[str, ...]
    """Instances that use them."""
    settings: str
    agreement: tuple[Figure, ...]
    """Figures of how tables predict the variants of other splits; empty for a single reward split."""
    left_out_figures: tuple[Figure, ...]
    """Figures of how tables predict their left-out variants, and of what variants measured; empty without a table."""
    missing: str
    """How many tables could not be made, in words; empty where all could."""


def table_sections(results: Results) -> list[TableSection]:
    """Draw the tables of each kind of settings; of several kinds, by the estimators in use only."""
    agreement = _joined_table("agreement", [tables.agreement for tables in results.tables], _PREDICTED)
    left_out = _joined_table("leave_one_out", [_left_out_rows(tables) for tables in results.tables], _PREDICTED)
    variants = _joined_table("variants", [_measured_rows(tables) for tables in results.tables], ["map"])
    sections = []
    for tables in results.tables:
        used = [e for e in tables.estimators if len(results.tables) == 1 or _users_of_estimator(results, tables, e)]
        shown = used if tables.made else []
        sections.append(
            TableSection(
                name=tables.name,
                strategies=tables.strategies,
                settings=_settings_in_words(results, tables),
                agreement=tuple(_prediction_figures(results, tables, shown, agreement)),
                left_out_figures=(
                    *_prediction_figures(results, tables, shown, left_out),
                    *([_variants_figure(results, tables, variants)] if shown else []),
                ),
                missing=_missing_in_words(tables),
            )
        )
    return sections


def _missing_in_words(tables: LookupTables) -> str:
    missing = tables.planned - tables.made
    return f"{missing} of {tables.planned} tables could not be made: there is too little data." if missing else ""


def _joined_table(stem: str, parts: list[pd.DataFrame], values: list[str]) -> Table:
    """Return the rows of all parts, with the columns that name a table and a variant and those of the values."""
    return Table(stem, pd.concat(parts)[[*TABLE, "variant", *values]] if parts else pd.DataFrame())


def _left_out_rows(tables: LookupTables) -> pd.DataFrame:
    """Return what each estimator predicts of each variant from the others."""
    keys = [*TABLE, "variant", "measured"]
    return tables.variants.melt(keys, list(tables.estimators), "estimator", "predicted")


def _measured_rows(tables: LookupTables) -> pd.DataFrame:
    """Return the mAP of each table's variants, of which variant 0 has no subset."""
    by_table = [rows for _, rows in tables.variants.groupby(TABLE, sort=False)]
    parts = [
        [rows[:1].assign(variant=0, map=rows["baseline"]), rows.assign(map=rows["measured"])] for rows in by_table
    ]
    return pd.concat([*chain(*parts), tables.variants[:0].assign(map=[])])


def _settings_in_words(results: Results, tables: LookupTables) -> str:
    strategy = results.config.strategies[tables.strategies[0]]
    lut, reward = strategy.lut, strategy.reward
    parts = [
        f"{lut.variants} variants",
        f"labels: {lut.labels}",
        f"start: {lut.start}",
        f"distance: {reward.distance}",
    ]
    return "; ".join(parts).replace("_", " ")


def _users_of_estimator(results: Results, tables: LookupTables, estimator: Estimator) -> list[str]:
    """Return the strategies of these tables that choose by the estimator."""
    strategies = results.config.strategies
    return [name for name in tables.strategies if strategies[name].reward.estimator == estimator]


def _estimator_title(results: Results, tables: LookupTables, estimator: Estimator) -> str:
    """Return an estimator's name, and who uses it."""
    users = _users_of_estimator(results, tables, estimator)
    if estimator == "regression":
        notes = notes_of(results)
        rounds = [note for name in users for note in notes[name]]
        unused = sum(map(bool, rounds))
        if users and unused:
            return f"{TITLES[estimator]} (used in {len(rounds) - unused} of {len(rounds)} rounds)"
    if len(users) == len(tables.strategies):
        return f"{TITLES[estimator]} (used for the rewards)"
    return f"{TITLES[estimator]} (used by {listed(users)})" if users else TITLES[estimator]


def _file_stem(name: str, tables: LookupTables) -> str:
    """Return a file's name, which is short for the experiment's own settings."""
    parts = [name, tables.table, tables.reward]
    while parts[-1] == DEFAULT:
        parts.pop()
    return "_".join(parts)


def _prediction_figures(
    results: Results, tables: LookupTables, estimators: Sequence[Estimator], table: Table
) -> Iterator[Figure]:
    """Draw the rows of `table` that are of these lookup tables, by estimator."""
    rows = table.rows
    lookup_rows = rows[(rows["table"] == tables.table) & (rows["reward"] == tables.reward)]
    for estimator in estimators if len(lookup_rows) else ():
        estimator_rows = lookup_rows[lookup_rows["estimator"] == estimator]
        counts_rows = lookup_rows[lookup_rows["estimator"] == COUNTS_ALONE]
        counts_sentence = (
            _compare_with_counts(estimator_rows, counts_rows)
            if estimator == "regression" and len(counts_rows)
            else ""
        )
        yield _prediction_figure(results, tables, estimator, estimator_rows, table, counts_sentence)


def _compare_with_counts(rows: pd.DataFrame, counts_rows: pd.DataFrame) -> str:
    """Report the R² of a regression on the variants of other tables, `rows`, and that of object counts alone.

    Empty where all variants measured the same, because then there is nothing to predict.
    """
    measured, predicted = (
        [table_rows[name].to_numpy() for _, table_rows in counts_rows.groupby(TABLE)] for name in _PREDICTED[1:]
    )
    if not _ranked(measured, measured):
        return ""
    learned, alone = (_r_squared(table_rows) for table_rows in (rows, counts_rows))
    ranks = _ranked(measured, predicted)
    correlation = f", with a rank correlation of {signed(_mean_product(ranks))}" if ranks else ""
    return (
        f" R² {learned:.2f}; by the roots of object counts alone, fitted likewise, {alone:.2f}{correlation}."
    ).replace("-", "−")


def _r_squared(rows: pd.DataFrame) -> float:
    """Return the part of the squared differences between variants that is predicted; below 0 where it adds error."""
    unexplained = ((rows["measured"] - rows["predicted"]) ** 2).sum()
    return float(1 - unexplained / (rows["measured"] ** 2).sum())


def _prediction_figure(
    results: Results,
    tables: LookupTables,
    estimator: Estimator,
    rows: pd.DataFrame,
    table: Table,
    counts_sentence: str,
) -> Figure:
    """Draw predicted by measured values of the variants of each table."""
    kind, quantity = _PREDICTION_TITLES[table.stem]
    stem = _file_stem(f"{table.stem}_{estimator}", tables)
    title = f"{kind}: {_estimator_title(results, tables, estimator)}"
    by_table = [table_rows for _, table_rows in rows.groupby(TABLE, sort=False)]

    key_columns, names = _table_names(pd.DataFrame([table_rows.iloc[0] for table_rows in by_table]))
    columns = max(1, 36 // (4 + max(map(len, names))))

    def paint(axes: Axes) -> None:
        # A colour a table, as variants are ranked within tables; where colours repeat, the marker differs.
        for index, (table_rows, name) in enumerate(zip(by_table, names, strict=True)):
            marker = _MARKERS[index // len(SEED_COLOURS) % len(_MARKERS)]
            cells = table_rows["measured"], table_rows["predicted"]
            axes.plot(*cells, marker, color=seed_colour(index), alpha=0.75, markersize=5, label=name)
        values = rows[["measured", "predicted"]].to_numpy()
        margin = 0.06 * (values.max() - values.min()) or 0.01
        limits = (values.min() - margin, values.max() + margin)
        axes.plot(limits, limits, color=FAINT, linestyle="--", linewidth=1.0, zorder=0)
        labels = {"xlabel": f"measured {quantity} (%)", "ylabel": f"predicted {quantity} (%)"}
        axes.set(xlim=limits, ylim=limits, aspect="equal", **labels)
        axes.xaxis.set_major_formatter(percent_tick)
        axes.yaxis.set_major_formatter(percent_tick)
        axes.legend(
            title=f"table: {key_columns}",
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=columns,
            columnspacing=1.0,
            handletextpad=0.1,
        )

    measured, predicted = (
        [table_rows[name].to_numpy() for table_rows in by_table] for name in ("measured", "predicted")
    )
    correlation = rank_correlation(measured, predicted, results.config.seeds[0])
    error = (rows["predicted"] - rows["measured"]).abs().mean()
    tested = estimator != "regression"
    caption = f"{_describe(correlation, tested=tested)} Mean absolute error {points(error, 2)} points of mAP."
    drawing = draw(stem, 4.6, 4.5 + 0.19 * math.ceil(len(names) / columns), paint)
    return Figure(
        stem, title, _conclude(correlation, table.stem, tested=tested), caption + counts_sentence, drawing, table
    )


def _table_names(keys: pd.DataFrame) -> tuple[str, list[str]]:
    """Return the columns in which the tables differ, at least seed and split, and the name of each table by these."""
    columns = {
        "strategy": keys["round"].str.removeprefix("strategies/"),
        **{name: keys[name].astype(str) for name in ("seed", "cycle", "split")},
    }
    varying = {name: values for name, values in columns.items() if name in ("seed", "split") or values.nunique() > 1}
    return "/".join(varying), ["/".join(cells) for cells in zip(*varying.values(), strict=True)]


def _conclude(correlation: RankCorrelation, kind: str, *, tested: bool) -> str:
    """Report whether the ranking is better than chance; without a test of it, the correlation alone."""
    if np.isnan(correlation.mean):
        return "All values on one axis are equal, so nothing can be ranked."
    if not tested:
        statement = (
            "The tables of other splits predict variants"
            if kind == "agreement"
            else "Left-out variants are predicted"
        )
        return f"{statement} with a rank correlation of {signed(correlation.mean)}."
    better = "better than chance" if correlation.p_value <= ERROR_RATE else "no better than chance"
    statement = "The tables of other splits rank variants" if kind == "agreement" else "Left-out variants are ranked"
    return f"{statement} {better} (rank correlation {signed(correlation.mean)}, p = {correlation.p_value:.2g})."


def _describe(correlation: RankCorrelation, *, tested: bool) -> str:
    """Return the correlation in words.

    Parameters
    ----------
    tested
        Whether its p-value means something. It does not for a regression, whose penalty is chosen on these variants.
    """
    if np.isnan(correlation.mean):
        return "Spearman’s rank correlation is undefined: all values on one axis are equal."
    rho = signed(correlation.mean)
    where = "within the table" if correlation.tables == 1 else f"within tables, mean of {correlation.tables}"
    text = f"Spearman’s rank correlation {rho} ({where}; n = {correlation.variants} variants in all"
    if not tested:
        return (
            f"{text}). The penalty of the regression is chosen on the same variants, so this is optimistic; the "
            "permutation test, which decides whether tables are used, chooses it anew for each shuffle."
        )
    return f"{text}; p = {correlation.p_value:.2g}, one-sided, by {_SHUFFLES:,} shuffles within tables)."


def _variants_figure(results: Results, tables: LookupTables, table: Table) -> Figure:
    """Draw the measured mAP of every variant of each table beside that of variant 0, which has no subset."""
    stem = _file_stem("variants", tables)
    by_table = [table_rows for _, table_rows in tables.variants.groupby(TABLE, sort=False)]
    keys = [table_rows.iloc[0] for table_rows in by_table]

    def paint(axes: Axes) -> None:
        for position, table_rows in enumerate(by_table):
            spread = np.linspace(-0.16, 0.16, len(table_rows)) if len(table_rows) > 1 else np.zeros(1)
            colour = seed_colour(results.config.seeds.index(table_rows["seed"].iloc[0]))
            axes.plot(position + spread, table_rows["measured"], "o", color=colour, alpha=0.75, markersize=5)
            axes.hlines(table_rows["baseline"].iloc[0], position - 0.3, position + 0.3, color=INK, linewidth=2)
        strategy_count = len({key["round"] for key in keys if key["round"] != INITIAL})
        names = [
            f"{key['round'].removeprefix('strategies/')}/" * (strategy_count > 1)
            + f"{key['seed']}/{key['cycle']}/{key['split']}"
            for key in keys
        ]
        axes.set_xticks(range(len(keys)), names, rotation=90 if len(keys) > 8 else 0)
        axes.set(
            xlim=(-0.6, len(keys) - 0.4),
            ylabel="measured mAP (%)",
            xlabel=f"{'strategy/' * (strategy_count > 1)}seed/cycle/split",
        )
        axes.yaxis.set_major_formatter(percent_tick)

    gains = tables.variants["measured"] - tables.variants["baseline"]
    gains_by_table = gains.groupby([tables.variants[name] for name in TABLE])
    deviation, gain, above = gains_by_table.std().mean(), gains_by_table.mean().mean(), int((gains > 0).sum())
    caption = (
        "Points: variants 1 to K on the reward images. Line: variant 0, trained without a subset. Within a table "
        f"the variants have a standard deviation of {points(deviation, 2)} points."
    )
    conclusion = (
        f"{above} of {len(gains)} variants are above variant 0, and on average they differ from it by "
        f"{points(gain, 2, sign=True)} points."
    )
    return Figure(stem, "mAP of the variants", conclusion, caption, draw(stem, 5.0, 3.7, paint), table)
