"""The rankings: how high each strategy's curve lies, what a difference is worth, and how sure its place is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes

from mgral.config import Config
from mgral.evaluation.coco import CURVE_SCORES
from mgral.evaluation.intervals import Interval
from mgral.report.bootstrap import FEWEST_SEEDS, percentile_interval, rank_interval, resampled_means
from mgral.report.curves import COSTS, costs_of, mean_heights
from mgral.report.detectors import Array, DetectorScores
from mgral.report.drawing import FAINT, Figure, Table, draw, signed_percent_tick
from mgral.report.spread import PairedDifference, Spread, difference_cells, points, points_interval
from mgral.report.styles import Style, baseline_of, first_of_type, strategy_styles

Rankings = Mapping[tuple[str, str], list["RankingRow"]]
"""Rankings by kind of labels and score, those of the budget's kind first."""
COUNTS = "sqrt_counts"
"""The strategy that a method has to beat: it needs no table, no agent and no training."""
METHODS_IN_WORDS = 3
"""Instances with lookup tables that have a sentence of their own above the ranking."""
FEW = 4
"""Names that a sentence lists where there are more than one beyond them."""


@dataclass(frozen=True)
class RankingRow:
    """A strategy's place by the mean height of its curve."""

    rank: int
    """1 is the best; equal means share the better place."""
    strategy: str
    by_seed: Array
    """[seeds]: mean height of the curve."""
    mean: Spread
    interval: Interval
    """Bootstrap interval of the mean."""
    to_random: PairedDifference | None
    """None for random itself and where random was not run."""
    best_other: str
    """The other strategy with the highest mean; empty where there is none."""
    to_best: PairedDifference | None
    ranks: tuple[int, int] | None
    """95 % interval of the place over resamples of the seeds; None of fewer than three."""
    first_share: float
    """Share of the resamples in which it comes first, alone or with others; NaN of fewer than three seeds."""


def ranks_of(means: Array) -> npt.NDArray[np.int64]:
    """Return the places of strategies, [strategies, ...], by their means: 1 for the highest; equal ones share.

    Those without a mean, NaN, come last.
    """
    sortable = np.nan_to_num(means, nan=-np.inf)
    places: npt.NDArray[np.int64] = 1 + (sortable[None] > sortable[:, None]).sum(axis=1)
    return places


def rank(values: dict[str, Array], random: str | None) -> list[RankingRow]:
    """Rank strategies by the means of their values, [seeds] each; of equal ones the earlier comes first.

    `random` is the one that the others are compared with, if any.
    """
    strategies = list(values)
    heights = np.array(list(values.values()))
    means = heights.mean(axis=1)
    places = ranks_of(means)
    order = np.argsort(-means, kind="stable")
    resampled = ranks_of(resampled_means(heights)) if heights.shape[1] >= FEWEST_SEEDS else None

    def row(index: int) -> RankingRow:
        strategy, by_seed = strategies[index], heights[index]
        best = next((strategies[other] for other in order if other != index), "")
        return RankingRow(
            rank=int(places[index]),
            strategy=strategy,
            by_seed=by_seed,
            mean=Spread.of(by_seed),
            interval=percentile_interval(by_seed),
            to_random=PairedDifference.of(by_seed, values[random]) if random and strategy != random else None,
            best_other=best,
            to_best=PairedDifference.of(by_seed, values[best]) if best else None,
            ranks=None if resampled is None else rank_interval(resampled[index]),
            first_share=np.nan if resampled is None else float((resampled[index] == 1).mean()),
        )

    return [row(int(index)) for index in order]


def rankings(detectors: DetectorScores) -> Rankings:
    """Rank the strategies by the mean height of their curves, best first, by each kind of labels and each score."""
    return {
        (cost, score): rank(mean_heights(detectors, score, cost), detectors.baseline)
        for cost, score in product(costs_of(detectors.config), CURVE_SCORES)
    }


def ranking_table(ranked: Rankings) -> Table:
    """Return the rankings as numbers between 0 and 1."""
    table_rows = [
        {
            "labels": cost,
            "score": score,
            "rank": row.rank,
            "strategy": row.strategy,
            "seeds": row.mean.n,
            "mean": row.mean.mean,
            "std": row.mean.std,
            **row.interval._asdict(),
            "rank_low": row.ranks and row.ranks[0],
            "rank_high": row.ranks and row.ranks[1],
            "first": row.first_share,
            **difference_cells("to_random", row.to_random),
            "best_other": row.best_other,
            **difference_cells("to_best", row.to_best),
        }
        for (cost, score), rows in ranked.items()
        for row in rows
    ]
    return Table("ranking", pd.DataFrame(table_rows))


def ranking_by_seed(ranked: Rankings, seeds: Sequence[int]) -> Table:
    """Return the mean height of every single curve, between 0 and 1."""
    parts = [
        pd.DataFrame({"labels": cost, "score": score, "strategy": row.strategy, "seed": seeds, "mean": row.by_seed})
        for (cost, score), rows in ranked.items()
        for row in rows
    ]
    return Table("ranking_by_seed", pd.concat(parts))


def subject_of(config: Config, rows: Sequence[RankingRow]) -> str:
    """Return the strategy that the page is about: the method under test, or else the best that is not random.

    The method is the instance named mgral_greedy, or mgral, or the first that chooses by lookup tables.
    """
    if config.methods:
        return config.methods[0]
    random = baseline_of(config)
    return next((row.strategy for row in rows if row.strategy != random), rows[0].strategy)


def conclusions(rows: list[RankingRow], methods: Sequence[str], random: str | None) -> list[str]:
    """Report in plain words how the methods under test did, the first few, and which strategies random beats."""
    if len(rows) < 2:
        return []
    row_by_strategy = {row.strategy: row for row in rows}
    sentences = [_place_in_words(row_by_strategy[method], rows) for method in methods[:METHODS_IN_WORDS]]
    rows_behind = [row for row in rows if row.to_random and row.to_random.spread.mean < 0]
    if random is None:
        return sentences
    if not rows_behind:
        return [*sentences, f"{random} beats none of the strategies."]
    names = [row.strategy for row in rows_behind]
    surely = [row.strategy for row in rows_behind if row.to_random and row.to_random.clear]
    how = "clearly" if surely == names else f"clearly only {listed(surely)}" if surely else "but none clearly"
    return [*sentences, f"{random} beats {listed(names)} on average, {how}."]


def _place_in_words(row: RankingRow, rows: list[RankingRow]) -> str:
    assert row.to_best is not None
    gap = f"{points(abs(row.to_best.spread.mean), 2)} points of mAP"
    clear = row.to_best.verdict(above="clearly", below="clearly")
    if row.rank == 1:
        if row.to_best.spread.mean == 0:
            return f"{row.strategy} shares the first place with {row.best_other}."
        return f"{row.strategy} is first, {gap} ahead of {row.best_other} ({clear})."
    return (
        f"{row.strategy} is not first: it is number {row.rank} of {len(rows)}; "
        f"{row.best_other} is {gap} ahead ({clear})."
    )


def beyond_counts(by_seed: Mapping[str, Array], config: Config) -> list[str]:
    """Report how far the methods under test, the first few, are above `sqrt_counts`, which only counts objects.

    Parameters
    ----------
    by_seed
        Mean heights of each strategy's curves, [seeds].
    """
    counts = first_of_type(config, COUNTS)
    if counts is None:
        return []
    sentences = []
    for method in config.methods[:METHODS_IN_WORDS]:
        difference = PairedDifference.of(by_seed[method], by_seed[counts])
        interval = points_interval(difference.interval, sign=True)
        interval_text = f" (95 % of the difference: {interval})" if difference.interval.known else ""
        gap = f"{points(abs(difference.spread.mean), 2)} points of mAP"
        side = "below" if difference.spread.mean < 0 else "above"
        sentences.append(f"{method} is {gap} {side} {counts}{interval_text}: {difference.verdict()}.")
    return sentences


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence has them: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def difference_figures(detectors: DetectorScores, ranked: Rankings) -> list[Figure]:
    """Draw by each ranking how the strategies differ from random, best first; none without random or another."""
    random, config = detectors.baseline, detectors.config
    if random is None or len(config.strategies) < 2:
        return []
    styles = strategy_styles(config)
    table = ranking_by_seed(ranked, config.seeds)
    return [_difference_figure(rows, *key, random, styles, table) for key, rows in ranked.items()]


def _difference_figure(
    rows: list[RankingRow], cost: str, score: str, random: str, styles: Mapping[str, Style], table: Table
) -> Figure:
    """Draw paired differences with their intervals."""
    stem = f"to_random_{score}_by_{cost}"
    baseline = next(row for row in rows if row.strategy == random)
    compared = [(row, row.to_random) for row in rows if row.to_random]

    def paint(axes: Axes) -> None:
        for y, (row, difference) in enumerate(compared):
            colour, marker = styles[row.strategy]
            single = row.by_seed - baseline.by_seed
            axes.plot(single, np.full(len(single), y + 0.24), "o", color=colour, alpha=0.5, markersize=3, mew=0)
            if difference.student.known:
                axes.hlines(y, *difference.student, color=colour, linewidth=1.0, alpha=0.6)
                axes.hlines(y, *difference.bootstrap, color=colour, linewidth=3.2)
            axes.plot(difference.spread.mean, y, marker, color=colour, markersize=8, markeredgecolor="white")
        axes.axvline(0, color=FAINT, linestyle="--", linewidth=1.2, zorder=0)
        axes.set_yticks(range(len(compared)), [row.strategy for row, _ in compared])
        axes.set_ylim(len(compared) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"difference to {random} (points)")
        axes.xaxis.set_major_formatter(signed_percent_tick)

    caption = "Small points: single seeds, paired."
    if len(baseline.by_seed) >= FEWEST_SEEDS:
        caption += " Thick: 95 % paired bootstrap interval of their mean; thin: Student’s."
    drawing = draw(stem, 5.0, 1.0 + 0.3 * len(compared), paint)
    title = f"Mean {CURVE_SCORES[score]} over {COSTS[cost]}, difference to {random}"
    return Figure(stem, title, differences_in_words(rows, random), caption, drawing, table)


def differences_in_words(rows: Sequence[RankingRow], random: str) -> str:
    """Report which strategies are clearly above or below random, or on average where seeds are too few for more."""
    compared = {row.strategy: row.to_random for row in rows if row.to_random}
    if all(difference.spread.n < FEWEST_SEEDS for difference in compared.values()):
        higher = sum(difference.spread.mean > 0 for difference in compared.values())
        return f"{higher} of {len(compared)} are above {random} on average; there are too few seeds for a conclusion."
    above, below = (
        [name for name, difference in compared.items() if difference.clear and sign * difference.spread.mean > 0]
        for sign in (1, -1)
    )
    parts = [
        f"clearly {side} {random}: {_few_listed(names)}"
        for side, names in (("above", above), ("below", below))
        if names
    ]
    undecided = len(compared) - len(above) - len(below)
    if undecided == len(compared):
        return f"No strategy is clearly above or below {random}."
    text = "; ".join([*parts, *[f"no clear difference: {undecided} more"] * (undecided > 0)])
    return f"{text[0].upper()}{text[1:]}."


def _few_listed(names: Sequence[str]) -> str:
    return listed(names) if len(names) <= FEW + 1 else f"{', '.join(names[:FEW])} and {len(names) - FEW} more"
