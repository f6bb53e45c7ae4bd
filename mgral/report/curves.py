"""The curves: scores of each cycle's detector by what was labelled for it, and their comparison at the end."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mgral.config import Config, unit_of
from mgral.evaluation.coco import CURVE_SCORES
from mgral.evaluation.voc import VOC_SCORES
from mgral.report.detectors import FULL_DATA, ROUND, Array, DetectorScores
from mgral.report.drawing import FEW_LINES, INK, Figure, Table, draw, legend_above, legend_height
from mgral.report.spread import (
    Difference,
    Spread,
    difference_cells,
    points,
    points_with_spread,
)
from mgral.report.styles import Style, strategy_styles

COSTS = {"images": "labelled images", "boxes": "labelled boxes"}


def costs_of(config: Config) -> tuple[str, ...]:
    """Return the kinds of labels by which curves are compared, that of the budget first."""
    return tuple(sorted(COSTS, key=lambda cost: cost != unit_of(config.budget)))


def mean_heights(detectors: DetectorScores, score: str, cost: str) -> dict[str, Array]:
    """Return by strategy the mean height of each seed's curve, [seeds], over the labels that all strategies share.

    They start together, and share what the one has that labelled the least in that seed.
    """
    labels = {strategy: detectors.curve(strategy, cost) for strategy in detectors.config.strategies}
    ends = np.min([of[:, -1] for of in labels.values()], axis=0)
    return {
        strategy: np.array(list(map(mean_height, of, detectors.curve(strategy, score), ends)))
        for strategy, of in labels.items()
    }


def mean_height(labels: Array, scores: Array, end: float) -> float:
    """Return the area below a curve, [points] each and straight between them, up to an end, divided by its width."""
    within = labels < end
    at = np.append(labels[within], end)
    heights = np.append(scores[within], np.interp(end, labels, scores))
    return float(np.trapezoid(heights, at) / (end - labels[0]))


def curve_figures(detectors: DetectorScores) -> list[Figure]:
    """Draw four panels: mAP and AP50 against labelled images and against labelled boxes."""
    return [_figure(detectors, score, cost) for cost, score in product(COSTS, CURVE_SCORES)]


def _figure(detectors: DetectorScores, score: str, cost: str) -> Figure:
    strategies, full = detectors.config.strategies, Spread.of(detectors.full[score])
    stem = f"{score}_by_{cost}"
    styles, with_seeds = strategy_styles(detectors.config), strategies_with_seeds(detectors)

    def paint(axes: Axes) -> None:
        for strategy in strategies:
            points_of = detectors.curve(strategy, cost), detectors.curve(strategy, score)
            # The method under test stays visible where curves meet.
            order = 4 if strategy in detectors.config.agents else 3
            _paint_curve(axes, strategy, styles[strategy], *points_of, strategy in with_seeds, order)
        if not math.isnan(full.mean):
            axes.axhline(
                full.mean, color=INK, linestyle="--", linewidth=1.2, label=f"{FULL_DATA} {points(full.mean)}"
            )
        axes.set(xlabel=COSTS[cost], ylabel=f"{CURVE_SCORES[score]} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        legend_above(axes)

    height = 3.4 + legend_height([*strategies, FULL_DATA])
    title = f"{CURVE_SCORES[score]} against {COSTS[cost]}"
    images = detectors.full["images"].iloc[0]
    caption = f"Dashed: {points_with_spread(full)} %, the detector trained on all {images} images."
    table = Table(stem, _by_seed_and_mean(detectors, score, cost))
    return Figure(stem, title, caption, draw(stem, 5.0, height, paint), table)


def curve_tables(detectors: DetectorScores) -> list[Table]:
    """Return the mean curves, and each strategy's in a file of its own, as DVC draws a line for each file."""
    scores = [name for name in (*CURVE_SCORES, *VOC_SCORES) if name in detectors.rounds]
    seeds = {"seeds": len(detectors.config.seeds)}
    means = {
        strategy: pd.DataFrame({**seeds, **{n: detectors.curve(strategy, n).mean(axis=0) for n in (*COSTS, *scores)}})
        for strategy in detectors.config.strategies
    }
    together = pd.concat(means, names=["strategy", "cycle"]).reset_index()
    return [Table("curves", together), *(Table(f"curves/{strategy}", of) for strategy, of in means.items())]


def strategies_with_seeds(detectors: DetectorScores) -> tuple[str, ...]:
    """Return the strategies whose single seeds are drawn: all, or of many the first with an agent and random."""
    config = detectors.config
    if len(config.strategies) <= FEW_LINES:
        return tuple(config.strategies)
    return tuple(name for name in config.strategies if name in (*config.agents[:1], detectors.baseline))


def _paint_curve(
    axes: Axes, strategy: str, style: Style, cost: Array, score: Array, with_seeds: bool, order: int
) -> None:
    colour, marker = style
    at = cost.mean(axis=0)
    if len(score) > 1 and with_seeds:
        axes.fill_between(at, score.min(axis=0), score.max(axis=0), color=colour, alpha=0.13, linewidth=0)
        axes.plot(cost.ravel(), score.ravel(), marker, color=colour, alpha=0.4, markersize=3, markeredgewidth=0)
    mean = score.mean(axis=0)
    axes.plot(at, mean, marker=marker, color=colour, markeredgecolor="white", label=strategy, zorder=order)


def _by_seed_and_mean(detectors: DetectorScores, score: str, cost: str) -> pd.DataFrame:
    """Return a row for each seed's point, after each cycle's its mean, and the full-data detector's mean."""
    parts = []
    for (strategy, cycle), of_point in detectors.rounds.groupby(["strategy", "cycle"], sort=False):
        mean = {"strategy": strategy, "cycle": cycle, "seed": "mean", cost: of_point[cost].mean()}
        # As objects: numbers of images stay whole beside their mean.
        parts += [of_point[[*ROUND, cost, score]].astype(object), _spread(of_point[score], mean)]
    parts.append(_spread(detectors.full[score], {"strategy": FULL_DATA, "seed": "mean"}))
    return pd.concat(parts)


def _spread(scores: pd.Series, key: dict[str, object]) -> pd.DataFrame:
    spread = Spread.of(scores)
    values = {str(scores.name): spread.mean, "std": spread.std, "minimum": spread.minimum, "maximum": spread.maximum}
    return pd.DataFrame([{**key, **values}], dtype=object)


@dataclass(frozen=True)
class SummaryRow:
    """A strategy's scores at the end; the difference in mAP to random is None for random and where it was not run."""

    strategy: str
    final_map: Spread
    final_ap50: Spread
    final_difference: Difference | None


def summary(detectors: DetectorScores) -> list[SummaryRow]:
    """Compare the strategies at the last cycle."""
    random = detectors.baseline
    final = {name: detectors.curve(name, "map")[:, -1] for name in detectors.config.strategies}
    return [
        SummaryRow(
            name,
            Spread.of(of_seeds),
            Spread.of(detectors.curve(name, "ap50")[:, -1]),
            Difference.of(of_seeds, final[random]) if random and name != random else None,
        )
        for name, of_seeds in final.items()
    ]


def summary_table(rows: list[SummaryRow]) -> Table:
    """Return the summary as numbers between 0 and 1."""
    written = [
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
    return Table("summary", pd.DataFrame(written))
