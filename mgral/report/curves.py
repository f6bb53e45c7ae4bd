"""The curves: scores of each cycle's detector by what was labelled for it, and their comparison at the end."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mgral.evaluation.coco import CURVE_SCORES
from mgral.evaluation.voc import VOC_SCORES
from mgral.report.drawing import FEW_LINES, INK, Figure, Table, draw, legend_above, legend_height
from mgral.report.results import Array, Results
from mgral.report.scores import FULL_DATA
from mgral.report.spread import (
    Difference,
    Spread,
    difference_cells,
    difference_columns,
    points,
    points_with_spread,
)
from mgral.report.styles import Style, strategy_styles

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
    config = results.config
    boxes_of_image = results.class_counts.sum(axis=1)
    gathered = {}
    for strategy in config.strategies:
        rounds = [[results.rounds[s, strategy, t] for t in range(config.cycles + 1)] for s in config.seeds]
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
    full = Spread.of([results.full[seed].scores[score] for seed in results.config.seeds])
    stem = f"{score}_by_{cost}"
    styles, with_seeds = strategy_styles(results.config), strategies_with_seeds(results)

    def paint(axes: Axes) -> None:
        for strategy, curve in gathered.items():
            points_of = curve.cost(cost), curve.scores[score]
            # The method under test stays visible where curves meet.
            order = 4 if strategy in results.config.agents else 3
            _paint_curve(axes, strategy, styles[strategy], *points_of, strategy in with_seeds, order)
        if not math.isnan(full.mean):
            axes.axhline(
                full.mean, color=INK, linestyle="--", linewidth=1.2, label=f"{FULL_DATA} {points(full.mean)}"
            )
        axes.set(xlabel=COSTS[cost], ylabel=f"{CURVE_SCORES[score]} (%)")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        legend_above(axes)

    height = 3.4 + legend_height([*gathered, FULL_DATA])
    title = f"{CURVE_SCORES[score]} against {COSTS[cost]}"
    caption = (
        f"Dashed: {points_with_spread(full)} %, the detector trained on all {len(results.train.image_ids)} images."
    )
    table = _table(results, gathered, score, cost, stem)
    return Figure(stem, title, caption, draw(stem, 5.0, height, paint), table)


def curve_table(results: Results) -> Table:
    """Return the mean curves: a row for each strategy and cycle, means over seeds."""
    rows = tuple(
        {"strategy": strategy, "cycle": cycle, **point}
        for strategy, curve in curves(results).items()
        for cycle, point in enumerate(_mean_points(curve))
    )
    return Table("curves", tuple(rows[0]), rows)


def curve_files(results: Results) -> list[Table]:
    """Return the mean curve of each strategy as a file of its own, as DVC draws a line for each file."""
    return [
        Table(f"curves/{strategy}", tuple(found[0]), tuple(found))
        for strategy, found in ((name, _mean_points(curve)) for name, curve in curves(results).items())
    ]


def _mean_points(curve: Curve) -> list[dict[str, object]]:
    seeds, cycles = curve.images.shape
    return [
        {
            "seeds": seeds,
            **{cost: float(curve.cost(cost)[:, cycle].mean()) for cost in COSTS},
            **{score: float(values[:, cycle].mean()) for score, values in curve.scores.items()},
        }
        for cycle in range(cycles)
    ]


def strategies_with_seeds(results: Results) -> tuple[str, ...]:
    """Return the strategies whose single seeds are drawn: all, or of many the first with an agent and random."""
    config = results.config
    if len(config.strategies) <= FEW_LINES:
        return tuple(config.strategies)
    return tuple(name for name in config.strategies if name in (*config.agents[:1], results.baseline))


def _paint_curve(
    axes: Axes, strategy: str, style: Style, cost: Array, score: Array, with_seeds: bool, order: int
) -> None:
    colour, marker = style
    spreads = [Spread.of(column) for column in score.T]
    at = cost.mean(axis=0)
    if len(score) > 1 and with_seeds:
        lows, highs = [s.minimum for s in spreads], [s.maximum for s in spreads]
        axes.fill_between(at, lows, highs, color=colour, alpha=0.13, linewidth=0)
        axes.plot(cost.ravel(), score.ravel(), marker, color=colour, alpha=0.4, markersize=3, markeredgewidth=0)
    means = [s.mean for s in spreads]
    axes.plot(at, means, marker=marker, color=colour, markeredgecolor="white", label=strategy, zorder=order)


def _table(results: Results, gathered: dict[str, Curve], score: str, cost: str, stem: str) -> Table:
    rows: list[dict[str, object]] = []
    for strategy, curve in gathered.items():
        for cycle in range(results.config.cycles + 1):
            at, values = curve.cost(cost)[:, cycle], curve.scores[score][:, cycle]
            key: dict[str, object] = {"strategy": strategy, "cycle": cycle}
            for seed, x, y in zip(results.config.seeds, at, values, strict=True):
                rows.append({**key, "seed": seed, cost: int(x), score: float(y)})
            rows.append({**key, "seed": "mean", cost: float(at.mean()), **_summary(score, values)})
    full = [results.full[seed].scores[score] for seed in results.config.seeds]
    rows.append({"strategy": FULL_DATA, "seed": "mean", **_summary(score, np.array(full))})
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
    random = gathered.get(results.baseline or "")
    rows = []
    for strategy, curve in gathered.items():
        final = curve.scores["map"][:, -1]
        rows.append(
            SummaryRow(
                strategy,
                Spread.of(final),
                Spread.of(curve.scores["ap50"][:, -1]),
                Difference.of(final, random.scores["map"][:, -1])
                if random and strategy != results.baseline
                else None,
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
