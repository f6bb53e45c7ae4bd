"""The curves: scores of each cycle's detector by what was labelled for it, and their comparison at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mgral.config import Config, unit_of
from mgral.evaluation.coco import CURVE_SCORES
from mgral.evaluation.learnt import learnt_nothing
from mgral.evaluation.voc import VOC_SCORES
from mgral.report.detectors import FULL_DATA, Array, DetectorScores, detectors_table
from mgral.report.drawing import (
    FAINT,
    FEW_LINES,
    INK,
    Figure,
    Table,
    draw,
    legend_above,
    legend_height,
    percent_tick,
)
from mgral.report.spread import PairedDifference, Spread, difference_cells, points, points_with_spread
from mgral.report.styles import Style, strategy_styles

COSTS = {"images": "labelled images", "boxes": "labelled boxes"}
LEVEL = 1e-9
"""Smaller differences in a score are rounding."""


def costs_of(config: Config) -> tuple[str, ...]:
    """Return the kinds of labels by which curves are compared, that of the budget first."""
    return tuple(sorted(COSTS, key=lambda cost: cost != unit_of(config.budget)))


def mean_heights(detectors: DetectorScores, score: str, cost: str) -> dict[str, Array]:
    """Return by strategy the mean height of each seed's curve, [seeds], over the labels that all strategies share.

    All curves of a seed start at the same labels, and the range ends with the curve that has the fewest.
    """
    labels = {strategy: detectors.curve(strategy, cost) for strategy in detectors.config.strategies}
    ends = np.min([strategy_labels[:, -1] for strategy_labels in labels.values()], axis=0)
    return {
        strategy: np.array(list(map(mean_height, strategy_labels, detectors.curve(strategy, score), ends)))
        for strategy, strategy_labels in labels.items()
    }


def mean_height(labels: Array, scores: Array, end: float) -> float:
    """Return the area below a curve, [points] each and straight between them, up to an end, divided by its width."""
    within = labels < end
    positions = np.append(labels[within], end)
    heights = np.append(scores[within], np.interp(end, labels, scores))
    return float(np.trapezoid(heights, positions) / (end - labels[0]))


def curve_figures(detectors: DetectorScores, subject: str) -> list[Figure]:
    """Draw four panels: mAP and AP50 against labelled images and against labelled boxes.

    `subject` is the strategy that the captions are about.
    """
    named, table = tuple(detectors.config.strategies), detectors_table(detectors)
    return [
        _figure(detectors, score, cost, f"{score}_by_{cost}", subject, named, 3.4, table)
        for cost, score in product(COSTS, CURVE_SCORES)
    ]


def short_figure(detectors: DetectorScores, subject: str, others: Sequence[str]) -> Figure:
    """Draw mAP by the budget's kind of labels, lower than the panels; of many strategies only some are named."""
    strategies = tuple(detectors.config.strategies)
    named = strategies if len(strategies) <= FEW_LINES else tuple(s for s in strategies if s in (subject, *others))
    cost = costs_of(detectors.config)[0]
    return _figure(detectors, "map", cost, "in_short", subject, named, 2.6, detectors_table(detectors))


def _figure(
    detectors: DetectorScores,
    score: str,
    cost: str,
    stem: str,
    subject: str,
    named: Sequence[str],
    height: float,
    table: Table,
) -> Figure:
    strategies, full = detectors.config.strategies, Spread.of(detectors.full[score])
    styles, with_seeds = strategy_styles(detectors.config), strategies_with_seeds(detectors)
    others_label = f"{len(strategies) - len(named)} others"
    line_names = [*named, *[others_label] * (len(named) < len(strategies)), FULL_DATA]

    def paint(axes: Axes) -> None:
        label = others_label
        for strategy in strategies:
            curve = detectors.curve(strategy, cost), detectors.curve(strategy, score)
            if strategy not in named:
                axes.plot(*(data.mean(axis=0) for data in curve), color=FAINT, linewidth=0.7, alpha=0.6, label=label)
                label = "_"  # is not in the legend
                continue
            # The method under test stays visible where curves meet.
            order = 4 if strategy in detectors.config.methods else 3
            _paint_curve(axes, strategy, styles[strategy], *curve, strategy in with_seeds, order)
        if not math.isnan(full.mean):
            axes.axhline(
                full.mean, color=INK, linestyle="--", linewidth=1.2, label=f"{FULL_DATA} {points(full.mean)}"
            )
        axes.set(xlabel=COSTS[cost], ylabel=f"{CURVE_SCORES[score]} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(percent_tick)
        legend_above(axes)

    title = f"{CURVE_SCORES[score]} against {COSTS[cost]}"
    nothing = learnt_nothing(detectors.full["map"].tolist())
    conclusion = f"{title}: differences are chance." if nothing else curve_in_words(detectors, score, cost, subject)
    images = detectors.full["images"].iloc[0]
    caption = f"Dashed: {points_with_spread(full)} %, the detector trained on all {images} images."
    return Figure(stem, title, conclusion, caption, draw(stem, 5.0, height + legend_height(line_names), paint), table)


def curve_in_words(detectors: DetectorScores, score: str, cost: str, subject: str) -> str:
    """Report where a strategy's mean curve ends beside that of random, and from how many labels on."""
    name, seeds = CURVE_SCORES[score], len(detectors.config.seeds)
    means = {
        strategy: tuple(detectors.curve(strategy, column).mean(axis=0) for column in (cost, score))
        for strategy in detectors.config.strategies
    }
    ends = {strategy: float(curve[1][-1]) for strategy, curve in means.items()}
    if any(np.isnan(values).any() for _, values in means.values()):
        return f"Some detectors have no {name}, so the curves have gaps."
    best = max(ends, key=lambda strategy: ends[strategy])
    highest = f"{best} ends highest, at {points(ends[best])} %."
    if len(means) == 1:
        return f"{subject} goes from {points(float(means[subject][1][0]))} to {points(ends[subject])} % {name}."
    baseline = detectors.baseline
    if baseline is None or subject == baseline:
        return highest
    side, since = lead(*means[subject], *means[baseline])
    basis = "In this seed" if seeds == 1 else f"In the mean of {seeds} seeds"
    if not side:
        return f"{basis}, {subject} and {baseline} end level." + f" {highest}" * (best != subject)
    where = f"{'above' if side > 0 else 'below'} {baseline} from {since:,.0f} {cost} on"
    return f"{basis}, {subject} is {where}." + f" {highest}" * (best not in (subject, baseline) or side < 0)


def lead(labels: Array, scores: Array, other_labels: Array, other_scores: Array) -> tuple[int, float]:
    """Return on which side of another a curve ends, 1 above and -1 below, and from how many labels on it stays there.

    Curves are straight between their points, [points] each, and are compared up to the end of the shorter one. The
    labels returned are those of a point of either curve. If the curves end level, it returns 0 and the end.
    """
    start, end = max(labels[0], other_labels[0]), min(labels[-1], other_labels[-1])
    positions = np.unique(np.clip(np.concatenate([labels, other_labels]), start, end))
    difference = np.interp(positions, labels, scores) - np.interp(positions, other_labels, other_scores)
    sides = np.where(np.abs(difference) < LEVEL, 0, np.sign(difference)).astype(int)
    differing = np.flatnonzero(sides != sides[-1])
    return int(sides[-1]), float(
        positions[differing[-1] + 1] if len(differing) and sides[-1] else positions[0 if sides[-1] else -1]
    )


def curve_tables(detectors: DetectorScores) -> list[Table]:
    """Return the mean curves, and each strategy's in a file of its own, as DVC draws a line for each file."""
    scores = [name for name in (*CURVE_SCORES, *VOC_SCORES) if name in detectors.rounds]
    seeds = {"seeds": len(detectors.config.seeds)}
    means = {
        strategy: pd.DataFrame({**seeds, **{n: detectors.curve(strategy, n).mean(axis=0) for n in (*COSTS, *scores)}})
        for strategy in detectors.config.strategies
    }
    all_means = pd.concat(means, names=["strategy", "cycle"]).reset_index()
    return [Table("curves", all_means), *(Table(f"curves/{strategy}", curve) for strategy, curve in means.items())]


def strategies_with_seeds(detectors: DetectorScores) -> tuple[str, ...]:
    """Return the strategies whose single seeds are drawn: all, or of many the main method and random."""
    config = detectors.config
    if len(config.strategies) <= FEW_LINES:
        return tuple(config.strategies)
    return tuple(name for name in (*config.methods[:1], detectors.baseline) if name)


def _paint_curve(
    axes: Axes, strategy: str, style: Style, cost: Array, score: Array, with_seeds: bool, order: int
) -> None:
    colour, marker = style
    mean_cost = cost.mean(axis=0)
    if len(score) > 1 and with_seeds:
        axes.fill_between(mean_cost, score.min(axis=0), score.max(axis=0), color=colour, alpha=0.13, linewidth=0)
        axes.plot(cost.ravel(), score.ravel(), marker, color=colour, alpha=0.4, markersize=3, markeredgewidth=0)
    mean = score.mean(axis=0)
    axes.plot(mean_cost, mean, marker=marker, color=colour, markeredgecolor="white", label=strategy, zorder=order)


@dataclass(frozen=True)
class SummaryRow:
    """A strategy's scores at the end; the difference in mAP to random is None for random and where it was not run."""

    strategy: str
    final_map: Spread
    final_ap50: Spread
    final_difference: PairedDifference | None


def summary(detectors: DetectorScores) -> list[SummaryRow]:
    """Compare the strategies at the last cycle."""
    random = detectors.baseline
    final_maps = {name: detectors.curve(name, "map")[:, -1] for name in detectors.config.strategies}
    return [
        SummaryRow(
            name,
            Spread.of(maps),
            Spread.of(detectors.curve(name, "ap50")[:, -1]),
            PairedDifference.of(maps, final_maps[random]) if random and name != random else None,
        )
        for name, maps in final_maps.items()
    ]


def summary_table(rows: list[SummaryRow]) -> Table:
    """Return the summary as numbers between 0 and 1."""
    table_rows = [
        {
            "strategy": row.strategy,
            "seeds": row.final_map.n,
            "final_map": row.final_map.mean,
            "final_map_std": row.final_map.std,
            "final_ap50": row.final_ap50.mean,
            "final_ap50_std": row.final_ap50.std,
            **difference_cells("final_difference", row.final_difference),
        }
        for row in rows
    ]
    return Table("summary", pd.DataFrame(table_rows))
