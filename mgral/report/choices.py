"""What each strategy chose: the balance of classes and the boxes per image, beside those of its pool."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.ticker import MaxNLocator
from scipy.special import entr

from mgral.report.curves import strategies_with_seeds
from mgral.report.drawing import FAINT, Figure, Table, draw, legend_above, legend_height
from mgral.report.results import Array, Results
from mgral.report.spread import Spread, points
from mgral.report.styles import strategy_styles

# A share at a quarter or at four times the pool's gets the full colour: beyond, the eye needs no more.
_OCTAVES = 2.0
_CYCLES_WITH_NUMBERS = 8
# Without the map's near-black ends, in which rare classes would outshine all others.
_COLOURS = ListedColormap(colormaps["PuOr_r"](np.linspace(0.14, 0.86, 129)))


@dataclass(frozen=True)
class Choice:
    """One strategy's choices and the pools they were made from, means over seeds where there is a seed axis."""

    chosen: Array
    """[seeds, cycles, classes]: share of the chosen images' boxes; NaN where they have none."""
    pool: Array
    """The same of the unlabelled images at the start of the cycle."""
    chosen_boxes: Array
    """[seeds, cycles]: boxes per chosen image."""
    pool_boxes: Array
    """The same of the unlabelled images."""


def choices(results: Results, strategy: str) -> Choice:
    """Count what a strategy chose in each cycle of each seed."""
    config = results.config
    shape = (len(config.seeds), config.cycles)
    classes = len(results.class_names)
    chosen, pool = np.full((*shape, classes), np.nan), np.full((*shape, classes), np.nan)
    chosen_boxes, pool_boxes = np.full(shape, np.nan), np.full(shape, np.nan)
    for row, seed in enumerate(config.seeds):
        for cycle in range(config.cycles):
            picked = results.class_counts[results.selections[seed, strategy, cycle].rows]
            rest = np.delete(results.class_counts, results.rounds[seed, strategy, cycle].labelled, axis=0)
            chosen[row, cycle], pool[row, cycle] = _shares(picked), _shares(rest)
            chosen_boxes[row, cycle], pool_boxes[row, cycle] = picked.sum() / len(picked), rest.sum() / len(rest)
    return Choice(chosen, pool, chosen_boxes, pool_boxes)


def _shares(counts: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Array:
    total = counts.sum()
    shares: Array = counts.sum(axis=0) / total if total else np.full(counts.shape[1], np.nan)
    return shares


def balance_figures(results: Results) -> list[Figure]:
    """Draw for each strategy the share of each class among the boxes that it chose in each cycle."""
    gathered = _all_choices(results)
    columns = ("strategy", "cycle", "seed", "class", "chosen_share", "pool_share")
    rows = tuple(row for strategy, choice in gathered.items() for row in _balance_rows(results, strategy, choice))
    table = Table("class_balance", columns, rows)
    return [_balance_figure(results, strategy, choice, table) for strategy, choice in gathered.items()]


def _balance_figure(results: Results, strategy: str, choice: Choice, table: Table) -> Figure:
    """Colour the shares by their ratio to the pool's."""
    chosen = _mean_over_seeds(choice.chosen)
    pool = _mean_over_seeds(choice.pool)
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = np.log2(chosen / pool).T.clip(-_OCTAVES, _OCTAVES)
    order = np.argsort(-np.nan_to_num(pool[0]), kind="stable")
    stem = f"balance_{strategy}"

    def paint(axes: Axes) -> None:
        cycles, classes = chosen.shape
        norm = TwoSlopeNorm(0, -_OCTAVES, _OCTAVES)
        image = axes.imshow(
            np.column_stack([np.zeros(classes), octaves[order]]), cmap=_COLOURS, norm=norm, aspect="auto"
        )
        numbers = np.column_stack([pool[0], chosen.T])[order]
        dark = np.abs(np.column_stack([np.zeros(classes), octaves[order]])) > 0.8 * _OCTAVES
        for (row, column), share in np.ndenumerate(numbers):
            if np.isnan(share) or (column and cycles > _CYCLES_WITH_NUMBERS):
                continue
            colour = "white" if dark[row, column] else "#22272e"
            size = 8.5 if classes <= 12 else 7.5
            axes.text(column, row, points(share), ha="center", va="center", color=colour, fontsize=size)
        axes.axvline(0.5, color="white", linewidth=5)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        step = max(1, cycles // _CYCLES_WITH_NUMBERS)
        axes.set_xticks([0, *range(1, cycles + 1, step)], ["pool", *[str(t) for t in range(0, cycles, step)]])
        axes.xaxis.tick_top()
        axes.set_yticks(range(classes), [_short(results.class_names[label]) for label in order])
        axes.tick_params(axis="y", labelsize=8.5 if classes <= 12 else 7.5)
        bar = axes.figure.colorbar(image, ax=axes, orientation="horizontal", fraction=0.05, pad=0.04, aspect=32)
        bar.outline.set_visible(False)
        bar.set_ticks([-2, -1, 0, 1, 2], labels=["¼ of the pool's", "½", "as the pool", "2×", "4× the pool's"])
        bar.ax.tick_params(labelsize=7.5)

    classes = len(results.class_names)
    height = 1.1 + classes * (0.27 if classes <= 12 else 0.19)
    return Figure(stem, strategy, "", draw(stem, 5.0, height, paint), table)


def _mean_over_seeds(values: Array) -> Array:
    """A class or a cycle without boxes in every seed stays NaN, which numpy's nanmean would warn of."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    mean: Array = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return mean


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def _balance_rows(results: Results, strategy: str, choice: Choice) -> tuple[dict[str, object], ...]:
    return tuple(
        {
            "strategy": strategy,
            "cycle": cycle,
            "seed": seed,
            "class": name,
            "chosen_share": float(choice.chosen[row, cycle, label]),
            "pool_share": float(choice.pool[row, cycle, label]),
        }
        for row, seed in enumerate(results.config.seeds)
        for cycle in range(results.config.cycles)
        for label, name in enumerate(results.class_names)
    )


def evenness(shares: Array) -> Array:
    """Return how evenly classes share the boxes, [...], of shares [..., classes]: entropy over its maximum.

    1 where all classes have as many, 0 where one has all (Pielou, *The measurement of diversity in different types of
    biological collections*, J. Theoret. Biol. 13, 1966); NaN without boxes.
    """
    even: Array = entr(shares).sum(axis=-1) / np.log(max(2, shares.shape[-1]))
    return even


def evenness_figure(results: Results) -> Figure:
    """Draw how evenly each strategy chose among the classes in each cycle, and how even the pool was."""
    stem = "class_evenness"
    gathered = _all_choices(results)
    chosen = {strategy: evenness(choice.chosen) for strategy, choice in gathered.items()}
    pools = {strategy: evenness(choice.pool) for strategy, choice in gathered.items()}
    first_pool = Spread.of(next(iter(pools.values()))[:, 0]).mean
    svg = _draw_cycles(results, stem, chosen, first_pool, "evenness of classes, 0 to 1", from_zero=False)
    caption = (
        "Entropy of the classes’ shares among the boxes chosen in a cycle, divided by its maximum: 1 where all "
        f"classes have as many boxes, 0 where one has all. Over all cycles and seeds: {_means(chosen, 3)}; the pool "
        f"of cycle 0 has {first_pool:.3f}. Few boxes are less even than the pool that they are drawn from, by chance."
    )
    table = _cycles_table(results, stem, {"chosen_evenness": chosen, "pool_evenness": pools})
    return Figure(stem, "How evenly classes are chosen", caption, svg, table)


def boxes_figure(results: Results) -> Figure:
    """Draw the boxes per image among the chosen images of each cycle, and in the pool."""
    stem = "boxes_an_image"
    gathered = _all_choices(results)
    chosen = {strategy: choice.chosen_boxes for strategy, choice in gathered.items()}
    pools = {strategy: choice.pool_boxes for strategy, choice in gathered.items()}
    first_pool = float(next(iter(pools.values()))[:, 0].mean())
    svg = _draw_cycles(results, stem, chosen, first_pool, "boxes per chosen image", from_zero=True)
    caption = (
        f"Over all cycles and seeds: {_means(chosen, 2)}; the pool of cycle 0 has {first_pool:.2f}. "
        "A strategy that chooses crowded images gets more boxes for the same number of images."
    )
    table = _cycles_table(results, stem, {"chosen_boxes": chosen, "pool_boxes": pools})
    return Figure(stem, "Boxes per image", caption, svg, table)


def _all_choices(results: Results) -> dict[str, Choice]:
    return {strategy: choices(results, strategy) for strategy in results.config.strategies}


def _means(values: dict[str, Array], digits: int) -> str:
    return ", ".join(f"{name} {Spread.of(cells.ravel()).mean:.{digits}f}" for name, cells in values.items())


def _draw_cycles(
    results: Results, stem: str, values: dict[str, Array], first_pool: float, label: str, *, from_zero: bool
) -> str:
    """Draw a line a strategy, of values [seeds, cycles], and the pool of cycle 0."""
    cycles = np.arange(results.config.cycles)
    styles, with_seeds = strategy_styles(results.config), strategies_with_seeds(results)

    def paint(axes: Axes) -> None:
        for strategy, cells in values.items():
            colour, marker = styles[strategy]
            for seed_values in cells if strategy in with_seeds else ():
                axes.plot(cycles, seed_values, marker, color=colour, alpha=0.4, markersize=3.5, markeredgewidth=0)
            mean = _mean_over_seeds(cells)
            axes.plot(cycles, mean, marker=marker, color=colour, markeredgecolor="white", label=strategy)
        axes.axhline(first_pool, color=FAINT, linestyle="--", linewidth=1.2, label="pool of cycle 0")
        axes.set(xlabel="cycle", ylabel=label)
        if from_zero:
            axes.set_ylim(bottom=0)
        axes.set_xlim(-0.5, len(cycles) - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        legend_above(axes)

    return draw(stem, 5.0, 3.0 + legend_height([*values, "pool of cycle 0"]), paint)


def _cycles_table(results: Results, stem: str, values: dict[str, dict[str, Array]]) -> Table:
    """Return columns of values by strategy, [seeds, cycles]."""
    rows = tuple(
        {
            "strategy": strategy,
            "cycle": cycle,
            "seed": seed,
            **{name: float(of_strategy[strategy][row, cycle]) for name, of_strategy in values.items()},
        }
        for strategy in results.config.strategies
        for row, seed in enumerate(results.config.seeds)
        for cycle in range(results.config.cycles)
    )
    return Table(stem, ("strategy", "cycle", "seed", *values), rows)
