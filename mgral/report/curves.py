"""The curves: scores of each cycle's detector against what was labelled for it, and what they add up to."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mgral.evaluation.coco import CURVE_SCORES
from mgral.evaluation.voc import VOC_SCORES
from mgral.report.drawing import FEW_LINES, INK, STRATEGY_MARKERS, Figure, Table, draw, legend_above, legend_height
from mgral.report.rendering import STRATEGY_COLOURS
from mgral.report.results import Array, Results
from mgral.report.spread import (
    Difference,
    Spread,
    difference_cells,
    difference_columns,
    points,
    points_with_spread,
)

COSTS = {"images": "labelled images", "boxes": "labelled boxes"}


@dataclass(frozen=True)
class Curve:
    """A strategy's curve, [seeds, cycles + 1]."""

    images: Array
    boxes: Array
    scores: dict[str, Array]
    """Those that are drawn and, of VOC data, those by VOC's rules."""

    def cost(self, name: str) -> Array:
        """Return the labelled images or boxes."""
        return self.images if name == "images" else self.boxes

    def means(self, score: str) -> Array:
        """Return the mean height of each seed's curve, [seeds]: its area over images, divided by their range."""
        area = np.trapezoid(self.scores[score], self.images, axis=1)
        mean: Array = area / (self.images[:, -1] - self.images[:, 0])
        return mean


def curves(results: Results) -> dict[str, Curve]:
    """Gather the curve of each strategy."""
    settings = results.settings
    boxes_of_image = results.class_counts.sum(axis=1)
    gathered = {}
    for strategy in settings.strategies:
        rounds = [[results.rounds[s, strategy, t] for t in range(settings.cycles + 1)] for s in settings.seeds]
        gathered[strategy] = Curve(
            images=np.array([[len(r.labelled) for r in row] for row in rounds], dtype=np.float64),
            boxes=np.array([[boxes_of_image[r.labelled].sum() for r in row] for row in rounds], dtype=np.float64),
            scores={
                name: np.array([[r.metrics.scores[name] for r in row] for row in rounds], dtype=np.float64)
                for name in (*CURVE_SCORES, *VOC_SCORES)
                if name in rounds[0][0].metrics.scores
            },
        )
    return gathered


def curve_figures(results: Results) -> list[Figure]:
    """Draw four panels: mAP and AP50 against labelled images and against labelled boxes."""
    gathered = curves(results)
    return [_figure(results, gathered, score, cost) for cost, score in product(COSTS, CURVE_SCORES)]


def _figure(results: Results, gathered: dict[str, Curve], score: str, cost: str) -> Figure:
    full = Spread.of([results.full[seed].scores[score] for seed in results.settings.seeds])
    stem = f"{score}_by_{cost}"
    with_seeds = strategies_with_seeds(results)

    def paint(axes: Axes) -> None:
        for strategy, curve in gathered.items():
            _paint_curve(axes, strategy, curve.cost(cost), curve.scores[score], strategy in with_seeds)
        if not math.isnan(full.mean):
            axes.axhline(full.mean, color=INK, linestyle="--", linewidth=1.2, label=f"all labels {points(full.mean)}")
        axes.set(xlabel=COSTS[cost], ylabel=f"{CURVE_SCORES[score]} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        legend_above(axes)

    height = 3.4 + legend_height([*gathered, "all labels"])
    title = f"{CURVE_SCORES[score]} against {COSTS[cost]}"
    reference = (
        f"Dashed: {points_with_spread(full)} %, a detector trained on all {len(results.train.image_ids)} images."
    )
    return Figure(title, reference, draw(stem, 5.0, height, paint), _table(results, gathered, score, cost, stem))


def curve_table(results: Results) -> Table:
    """Return the mean curves side by side, a row a cycle, for programs that draw a line a column."""
    gathered = curves(results)
    columns = [(strategy, score) for score in next(iter(gathered.values())).scores for strategy in gathered]
    rows = [
        {
            "images": float(next(iter(gathered.values())).images[:, cycle].mean()),
            **{f"{s}_{score}": float(gathered[s].scores[score][:, cycle].mean()) for s, score in columns},
        }
        for cycle in range(results.settings.cycles + 1)
    ]
    return Table("curves", ("images", *(f"{strategy}_{score}" for strategy, score in columns)), tuple(rows))


def strategies_with_seeds(results: Results) -> tuple[str, ...]:
    """Return the strategies whose single seeds are drawn: of many, the two that the experiment is about."""
    strategies = results.settings.strategies
    return strategies if len(strategies) <= FEW_LINES else tuple(s for s in strategies if s in ("mgral", "random"))


def _paint_curve(axes: Axes, strategy: str, cost: Array, score: Array, with_seeds: bool) -> None:
    colour = STRATEGY_COLOURS[strategy]
    marker = STRATEGY_MARKERS[strategy]
    spreads = [Spread.of(column) for column in score.T]
    at = cost.mean(axis=0)
    if len(score) > 1 and with_seeds:
        lows, highs = [s.minimum for s in spreads], [s.maximum for s in spreads]
        axes.fill_between(at, lows, highs, color=colour, alpha=0.13, linewidth=0)
        axes.plot(cost.ravel(), score.ravel(), marker, color=colour, alpha=0.4, markersize=3, markeredgewidth=0)
    means = [s.mean for s in spreads]
    # The method under test stays in sight where curves meet.
    order = 4 if strategy == "mgral" else 3
    axes.plot(at, means, marker=marker, color=colour, markeredgecolor="white", label=strategy, zorder=order)


def _table(results: Results, gathered: dict[str, Curve], score: str, cost: str, stem: str) -> Table:
    rows: list[dict[str, object]] = []
    for strategy, curve in gathered.items():
        for cycle in range(results.settings.cycles + 1):
            at, values = curve.cost(cost)[:, cycle], curve.scores[score][:, cycle]
            key: dict[str, object] = {"strategy": strategy, "cycle": cycle}
            for seed, x, y in zip(results.settings.seeds, at, values, strict=True):
                rows.append({**key, "seed": seed, cost: int(x), score: float(y)})
            rows.append({**key, "seed": "mean", cost: float(at.mean()), **_summary(score, values)})
    full = [results.full[seed].scores[score] for seed in results.settings.seeds]
    rows.append({"strategy": "full", "seed": "mean", **_summary(score, np.array(full))})
    return Table(stem, ("strategy", "cycle", "seed", cost, score, "std", "minimum", "maximum"), tuple(rows))


def _summary(score: str, values: Array) -> dict[str, object]:
    spread = Spread.of(values)
    return {score: spread.mean, "std": spread.std, "minimum": spread.minimum, "maximum": spread.maximum}


@dataclass(frozen=True)
class SummaryRow:
    """A strategy's scores at the end; the difference in mAP to random is None for random and where it was not run."""

    strategy: str
    final_map: Spread
    final_ap50: Spread
    final_difference: Difference | None


def summary(results: Results) -> list[SummaryRow]:
    """Compare the strategies at the last cycle."""
    gathered = curves(results)
    random = gathered.get("random")
    rows = []
    for strategy, curve in gathered.items():
        compared = random is not None and strategy != "random"
        final = curve.scores["map"][:, -1]
        rows.append(
            SummaryRow(
                strategy,
                Spread.of(final),
                Spread.of(curve.scores["ap50"][:, -1]),
                Difference.of(final, random.scores["map"][:, -1]) if random and compared else None,
            )
        )
    return rows


def summary_table(rows: list[SummaryRow]) -> Table:
    """Return the summary as numbers between 0 and 1; `_t` is Student's interval."""
    written = []
    for row in rows:
        line: dict[str, object] = {"strategy": row.strategy, "seeds": row.final_map.n}
        for name, spread in (("final_map", row.final_map), ("final_ap50", row.final_ap50)):
            line |= {name: spread.mean, f"{name}_std": spread.std}
        written.append(line | difference_cells("final_difference", row.final_difference))
    columns = ("strategy", "seeds", "final_map", "final_map_std", "final_ap50", "final_ap50_std")
    return Table("summary", (*columns, *difference_columns("final_difference")), tuple(written))
