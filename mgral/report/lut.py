"""How well the lookup tables predict each other and themselves, and how much their variants differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from scipy import stats

from mgral.artefacts.seeds import derive_seed
from mgral.config import DEFAULT, Estimator
from mgral.report.drawing import FAINT, INK, Figure, Table, draw, seed_colour
from mgral.report.ranking import listed
from mgral.report.results import INITIAL, Array, LookupTables, Results, TableKey
from mgral.report.spread import points

TITLES: dict[Estimator, str] = {
    "nearest": "the nearest variant",
    "kernel": "the kernel",
    "regression": "the regression",
}
_SHUFFLES = 10_000
_KEYS = ("table", "reward", *TableKey._fields)
_PERCENT = FuncFormatter(lambda value, _: f"{100 * value:.3g}")


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
    ranked = [
        (_standardised_ranks(m), _standardised_ranks(p))
        for m, p in zip(measured, predicted, strict=True)
        if len(np.unique(m)) > 1 and len(np.unique(p)) > 1
    ]
    variants = sum(len(m) for m in measured)
    if not ranked:
        return RankCorrelation(np.nan, np.nan, 0, variants)
    mean = float(np.mean([m @ p for m, p in ranked]))
    generator = np.random.default_rng(derive_seed(seed, "report", "permutation"))
    shuffled = np.mean([generator.permuted(np.tile(m, (_SHUFFLES, 1)), axis=1) @ p for m, p in ranked], axis=0)
    # Rounding must not turn a shuffle that equals the observed order into one below it.
    as_high = int((shuffled >= mean - 1e-9).sum())
    return RankCorrelation(mean, (as_high + 1) / (_SHUFFLES + 1), len(ranked), variants)


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
    """None for a single reward split."""
    own: tuple[Figure, ...]
    """How each table predicts itself, and what its variants measured; none without a table."""
    missing: str
    """How many tables could not be made, in words; empty where all could."""


def table_sections(results: Results) -> list[TableSection]:
    """Draw the tables of each kind of settings; of several kinds, by the estimators in use only."""
    agreement, left_out, variants = (
        _agreement_table(results),
        _leave_one_out_table(results),
        _variants_table(results),
    )
    sections = []
    for tables in results.tables:
        used = [e for e in tables.estimators if len(results.tables) == 1 or _users(results, tables, e)]
        shown = used if tables.columns else []
        sections.append(
            TableSection(
                name=tables.name,
                strategies=tables.strategies,
                settings=_settings(results, tables),
                agreement=tuple(
                    _agreement_figure(results, tables, e, agreement) for e in shown if e in tables.agreement
                ),
                own=(
                    *(_leave_one_out_figure(results, tables, e, left_out) for e in shown),
                    *([_variants_figure(results, tables, variants)] if shown else []),
                ),
                missing=_missing(tables),
            )
        )
    return sections


def _missing(tables: LookupTables) -> str:
    missing = tables.planned - len(tables.columns)
    return f"{missing} of {tables.planned} tables could not be made, as there is too little data." if missing else ""


def _settings(results: Results, tables: LookupTables) -> str:
    own = results.config.strategies[tables.strategies[0]]
    lut, reward = own.lut, own.reward
    parts = [
        f"{lut.variants} variants",
        f"labels: {lut.labels}",
        f"start: {lut.start}",
        f"distance: {reward.distance}",
    ]
    return "; ".join(parts).replace("_", " ")


def _users(results: Results, tables: LookupTables, estimator: Estimator) -> list[str]:
    strategies = results.config.strategies
    return [name for name in tables.strategies if strategies[name].reward.estimator == estimator]


def _named(results: Results, tables: LookupTables, estimator: Estimator) -> str:
    users = _users(results, tables, estimator)
    if len(users) == len(tables.strategies):
        return f"{TITLES[estimator]} (used for the rewards)"
    return f"{TITLES[estimator]} (used by {listed(users)})" if users else TITLES[estimator]


def _stem(name: str, tables: LookupTables) -> str:
    """Return a file's name, which is short for the experiment's own settings."""
    parts = [name, tables.table, tables.reward]
    while parts[-1] == DEFAULT:
        parts.pop()
    return "_".join(parts)


def _agreement_figure(results: Results, tables: LookupTables, estimator: Estimator, table: Table) -> Figure:
    """Draw what variants gained by what the other splits' tables predict."""
    predicted = tables.agreement[estimator]
    measured = {key: tables.columns[key]["measured"] - tables.columns[key]["baseline"] for key in predicted}
    stem = _stem(f"agreement_{estimator}", tables)
    title = f"Predicted by the other reward splits: {_named(results, tables, estimator)}"
    return _predictions(results, stem, title, "gain in mAP", measured, predicted, table)


def _agreement_table(results: Results) -> Table:
    rows = tuple(
        {**_key(tables, key), "variant": variant, "estimator": estimator, "measured": float(m), "predicted": float(p)}
        for tables in results.tables
        for estimator, predicted in tables.agreement.items()
        for key, gains in predicted.items()
        for columns in (tables.columns[key],)
        for variant, (m, p) in enumerate(zip(columns["measured"] - columns["baseline"], gains, strict=True), start=1)
    )
    return Table("agreement", (*_KEYS, "variant", "estimator", "measured", "predicted"), rows)


def _leave_one_out_figure(results: Results, tables: LookupTables, estimator: Estimator, table: Table) -> Figure:
    """Draw predicted by measured mAP of the variants."""
    measured = {key: columns["measured"] for key, columns in tables.columns.items()}
    predicted = {key: columns[estimator] for key, columns in tables.columns.items()}
    stem = _stem(f"leave_one_out_{estimator}", tables)
    title = f"Left out: {_named(results, tables, estimator)}"
    return _predictions(results, stem, title, "mAP", measured, predicted, table)


def _leave_one_out_table(results: Results) -> Table:
    rows = tuple(
        {**_key(tables, key), "variant": variant, "estimator": estimator, "measured": float(m), "predicted": float(p)}
        for tables in results.tables
        for estimator in tables.estimators
        for key, columns in tables.columns.items()
        for variant, (m, p) in enumerate(zip(columns["measured"], columns[estimator], strict=True), start=1)
    )
    return Table("leave_one_out", (*_KEYS, "variant", "estimator", "measured", "predicted"), rows)


def _key(tables: LookupTables, key: TableKey) -> dict[str, object]:
    return {"table": tables.table, "reward": tables.reward, **key._asdict()}


def _predictions(
    results: Results,
    stem: str,
    title: str,
    quantity: str,
    measured: Mapping[TableKey, Array],
    predicted: Mapping[TableKey, Array],
    table: Table,
) -> Figure:
    """Draw predicted by measured values of the variants of each table."""
    pairs = [(key, measured[key], predicted[key]) for key in measured]

    def paint(axes: Axes) -> None:
        named = set()
        for (seed, *_), of_table, guessed in pairs:
            label = None if seed in named else f"seed {seed}"
            named.add(seed)
            colour = seed_colour(results.config.seeds.index(seed))
            axes.plot(of_table, guessed, "o", color=colour, alpha=0.75, markersize=5, label=label)
        every = np.concatenate([*measured.values(), *predicted.values()])
        margin = 0.06 * (every.max() - every.min()) or 0.01
        limits = (every.min() - margin, every.max() + margin)
        axes.plot(limits, limits, color=FAINT, linestyle="--", linewidth=1.0, zorder=0)
        labels = {"xlabel": f"measured {quantity} (%)", "ylabel": f"predicted {quantity} (%)"}
        axes.set(xlim=limits, ylim=limits, aspect="equal", **labels)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.legend(loc="upper left", handletextpad=0.2, ncols=1 if len(named) < 5 else 2)

    correlation = rank_correlation([m for _, m, _ in pairs], [p for *_, p in pairs], results.config.seeds[0])
    error = np.concatenate([p - m for _, m, p in pairs])
    caption = f"{_describe(correlation)} Mean absolute error {points(float(np.abs(error).mean()), 2)} points of mAP."
    return Figure(stem, title, caption, draw(stem, 4.6, 4.4, paint), table)


def _describe(correlation: RankCorrelation) -> str:
    if np.isnan(correlation.mean):
        return "Spearman’s rank correlation is undefined: all values of a side are equal."
    rho = f"{correlation.mean:+.2f}".replace("-", "−")
    where = "within the table" if correlation.tables == 1 else f"within tables, mean of {correlation.tables}"
    return (
        f"Spearman’s rank correlation {rho} ({where}; n = {correlation.variants} variants in all; "
        f"p = {correlation.p_value:.2g}, one-sided, by {_SHUFFLES:,} shuffles within tables)."
    )


def _variants_figure(results: Results, tables: LookupTables, table: Table) -> Figure:
    """Draw the measured mAP of every variant of each table beside that of variant 0, which has no subset."""
    stem = _stem("variants", tables)
    keys = list(tables.columns)
    baselines = [float(tables.columns[key]["baseline"][0]) for key in keys]

    def paint(axes: Axes) -> None:
        for place, (key, baseline) in enumerate(zip(keys, baselines, strict=True)):
            measured = tables.columns[key]["measured"]
            spread = np.linspace(-0.16, 0.16, len(measured)) if len(measured) > 1 else np.zeros(1)
            colour = seed_colour(results.config.seeds.index(key[0]))
            axes.plot(place + spread, measured, "o", color=colour, alpha=0.75, markersize=5)
            axes.hlines(baseline, place - 0.3, place + 0.3, color=INK, linewidth=2)
        owners = len({key.round for key in keys if key.round != INITIAL})
        names = [f"{_owner(key)}/" * (owners > 1) + f"{key.seed}/{key.cycle}/{key.split}" for key in keys]
        axes.set_xticks(range(len(keys)), names, rotation=90 if len(keys) > 8 else 0)
        axes.set(
            xlim=(-0.6, len(keys) - 0.4),
            ylabel="measured mAP (%)",
            xlabel=f"{'strategy/' * (owners > 1)}seed/cycle/split",
        )
        axes.yaxis.set_major_formatter(_PERCENT)

    deviations = np.mean([tables.columns[key]["measured"].std(ddof=1) for key in keys])
    gains = np.mean([tables.columns[k]["measured"].mean() - b for k, b in zip(keys, baselines, strict=True)])
    above = sum(int((tables.columns[k]["measured"] > b).sum()) for k, b in zip(keys, baselines, strict=True))
    count = sum(len(tables.columns[key]["measured"]) for key in keys)
    caption = (
        f"Points: variants 1 to K on the reward images. Line: variant 0, trained without a subset. Within a table "
        f"the variants have a standard deviation of {points(float(deviations), 2)} points. On average they "
        f"differ from variant 0 by {points(float(gains), 2, sign=True)} points; {above} of {count} are above it."
    )
    return Figure(stem, "mAP of the variants", caption, draw(stem, 5.0, 3.7, paint), table)


def _owner(key: TableKey) -> str:
    return key.round.removeprefix("strategies/")


def _variants_table(results: Results) -> Table:
    rows = tuple(
        {**_key(tables, key), "variant": variant, "map": float(value)}
        for tables in results.tables
        for key, columns in tables.columns.items()
        for variant, value in enumerate([columns["baseline"][0], *columns["measured"]])
    )
    return Table("variants", (*_KEYS, "variant", "map"), rows)
