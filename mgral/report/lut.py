"""How well the lookup tables predict each other and themselves, and how far their variants differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from scipy import stats

from mgral.artefacts.seeds import derive_seed
from mgral.config import Estimator
from mgral.method.lut.estimators import estimators_of
from mgral.report.drawing import FAINT, INK, Figure, Table, draw, seed_colour
from mgral.report.results import Array, Results
from mgral.report.spread import points

TableKey = tuple[int, int, int]
"""Seed, cycle and split."""

TITLES: dict[Estimator, str] = {
    "nearest": "the nearest variant",
    "kernel": "the kernel",
    "regression": "the regression",
}
_SHUFFLES = 10_000
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


def agreement_figures(results: Results) -> list[Figure]:
    """Draw what variants gained against what the other splits' tables predict, for every estimator, if any."""
    measured = {key: columns["measured"] - columns["baseline"] for key, columns in results.tables.items()}
    return [
        _predictions(
            results,
            f"agreement_{estimator}",
            f"Predicted by the other reward splits: {_named(results, estimator)}",
            "gain in mAP",
            measured,
            predicted,
        )
        for estimator, predicted in results.agreement.items()
    ]


def leave_one_out_figures(results: Results) -> list[Figure]:
    """Draw predicted against measured mAP of the variants, for every estimator."""
    measured = {key: columns["measured"] for key, columns in results.tables.items()}
    return [
        _predictions(
            results,
            f"leave_one_out_{estimator}",
            f"Left out: {_named(results, estimator)}",
            "mAP",
            measured,
            {key: columns[estimator] for key, columns in results.tables.items()},
        )
        for estimator in estimators_of(results.settings.reward.distance)
    ]


def _named(results: Results, estimator: Estimator) -> str:
    used = estimator == results.settings.reward.estimator
    return TITLES[estimator] + (" (used for the rewards)" if used else "")


def _predictions(
    results: Results,
    stem: str,
    title: str,
    quantity: str,
    measured: Mapping[TableKey, Array],
    predicted: Mapping[TableKey, Array],
) -> Figure:
    """Draw predicted against measured values of the variants of each table."""
    pairs = [(key, measured[key], predicted[key]) for key in measured]

    def paint(axes: Axes) -> None:
        named = set()
        for (seed, *_), of_seed, foretold in pairs:
            label = None if seed in named else f"seed {seed}"
            named.add(seed)
            colour = seed_colour(results.settings.seeds.index(seed))
            axes.plot(of_seed, foretold, "o", color=colour, alpha=0.75, markersize=5, label=label)
        every = np.concatenate([*measured.values(), *predicted.values()])
        margin = 0.06 * (every.max() - every.min()) or 0.01
        limits = (every.min() - margin, every.max() + margin)
        axes.plot(limits, limits, color=FAINT, linestyle="--", linewidth=1.0, zorder=0)
        labels = {"xlabel": f"measured {quantity} (%)", "ylabel": f"predicted {quantity} (%)"}
        axes.set(xlim=limits, ylim=limits, aspect="equal", **labels)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.legend(loc="upper left", handletextpad=0.2, ncols=1 if len(named) < 5 else 2)

    correlation = rank_correlation([m for _, m, _ in pairs], [p for *_, p in pairs], results.settings.seeds[0])
    error = np.concatenate([p - m for _, m, p in pairs])
    caption = f"{_describe(correlation)} Mean absolute error {points(float(np.abs(error).mean()), 2)} points of mAP."
    rows = tuple(
        {
            "seed": seed,
            "cycle": cycle,
            "split": split,
            "variant": variant,
            "measured": float(m),
            "predicted": float(p),
        }
        for (seed, cycle, split), of_table, foretold in pairs
        for variant, (m, p) in enumerate(zip(of_table, foretold, strict=True), start=1)
    )
    columns = ("seed", "cycle", "split", "variant", "measured", "predicted")
    return Figure(title, caption, draw(stem, 4.6, 4.4, paint), Table(stem, columns, rows))


def _describe(correlation: RankCorrelation) -> str:
    if np.isnan(correlation.mean):
        return "Spearman’s rank correlation is undefined: all values of a side are equal."
    rho = f"{correlation.mean:+.2f}".replace("-", "−")
    where = "within the table" if correlation.tables == 1 else f"within tables, mean of {correlation.tables}"
    return (
        f"Spearman’s rank correlation {rho} ({where}; n = {correlation.variants} variants in all; "
        f"p = {correlation.p_value:.2g}, one-sided, by {_SHUFFLES:,} shuffles within tables)."
    )


def variants_figure(results: Results) -> Figure:
    """Draw the measured mAP of every variant of each table beside that of variant 0, which has no subset."""
    stem = "variants"
    keys = list(results.tables)
    baselines = [float(results.tables[key]["baseline"][0]) for key in keys]

    def paint(axes: Axes) -> None:
        for place, (key, baseline) in enumerate(zip(keys, baselines, strict=True)):
            measured = results.tables[key]["measured"]
            spread = np.linspace(-0.16, 0.16, len(measured)) if len(measured) > 1 else np.zeros(1)
            colour = seed_colour(results.settings.seeds.index(key[0]))
            axes.plot(place + spread, measured, "o", color=colour, alpha=0.75, markersize=5)
            axes.hlines(baseline, place - 0.3, place + 0.3, color=INK, linewidth=2)
        names = ["/".join(str(part) for part in key) for key in keys]
        axes.set_xticks(range(len(keys)), names, rotation=90 if len(keys) > 8 else 0)
        axes.set(xlim=(-0.6, len(keys) - 0.4), ylabel="measured mAP (%)", xlabel="seed/cycle/split")
        axes.yaxis.set_major_formatter(_PERCENT)

    deviations = np.mean([results.tables[key]["measured"].std(ddof=1) for key in keys])
    gains = np.mean([results.tables[k]["measured"].mean() - b for k, b in zip(keys, baselines, strict=True)])
    above = sum(int((results.tables[k]["measured"] > b).sum()) for k, b in zip(keys, baselines, strict=True))
    count = sum(len(results.tables[key]["measured"]) for key in keys)
    caption = (
        f"Points: variants 1 to K on the reward images; line: variant 0, trained without a subset. Within a table "
        f"the variants differ by {points(float(deviations), 2)} points (standard deviation); they lie "
        f"{points(float(gains), 2, sign=True)} points from variant 0 on average, {above} of {count} above it."
    )
    rows = tuple(
        {"seed": key[0], "cycle": key[1], "split": key[2], "variant": variant, "map": float(value)}
        for key, baseline in zip(keys, baselines, strict=True)
        for variant, value in enumerate([baseline, *results.tables[key]["measured"]])
    )
    svg = draw(stem, 5.0, 3.7, paint)
    return Figure(
        "What the variants measured", caption, svg, Table(stem, ("seed", "cycle", "split", "variant", "map"), rows)
    )
