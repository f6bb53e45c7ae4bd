"""What each strategy chose: the balance of classes and the boxes per image, beside those of its pool."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.ticker import MaxNLocator
from scipy.special import entr

from mgral.report.curves import strategies_with_seeds
from mgral.report.detectors import ROUND, Array
from mgral.report.drawing import FAINT, Figure, Table, draw, legend_above, legend_height
from mgral.report.results import Results
from mgral.report.spread import points
from mgral.report.styles import strategy_styles

# A share at a quarter or at four times the pool's gets the full colour: beyond, the eye needs no more.
_OCTAVES = 2.0
_CYCLES_WITH_NUMBERS = 8
_EXTREMES = {
    "evenness": ("its classes most evenly", "least"),
    "boxes": ("the most boxes an image", "the fewest"),
}
"""How the strategies with the highest and the lowest mean are told of."""
# Without the map's near-black ends, in which rare classes would outshine all others.
_COLOURS = ListedColormap(colormaps["PuOr_r"](np.linspace(0.14, 0.86, 129)))


def class_shares(results: Results) -> pd.DataFrame:
    """Return `class_boxes` with the share of each class among the chosen and the pool's boxes; NaN without boxes."""
    boxes = results.class_boxes
    shares = boxes[["chosen", "left"]] / boxes.groupby(ROUND)[["chosen", "left"]].transform("sum")
    return boxes.assign(chosen_share=shares["chosen"], pool_share=shares["left"])


def balance_figures(results: Results) -> list[Figure]:
    """Draw for each strategy the share of each class among the boxes that it chose in each cycle."""
    shares = class_shares(results)
    table = Table("class_balance", shares[[*ROUND, "class", "chosen_share", "pool_share"]])
    return [
        _balance_figure(results, strategy, shares[shares["strategy"] == strategy], table)
        for strategy in results.config.strategies
    ]


def _balance_figure(results: Results, strategy: str, shares: pd.DataFrame, table: Table) -> Figure:
    """Colour the shares by their ratio to the pool's."""
    means = shares.groupby(["cycle", "label"])[["chosen_share", "pool_share"]].mean().unstack()
    chosen: Array = means["chosen_share"].to_numpy()
    pool: Array = means["pool_share"].to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = np.log2(chosen / pool).T.clip(-_OCTAVES, _OCTAVES)
    order = np.argsort(-np.nan_to_num(pool[0]), kind="stable")
    stem = f"balance_{strategy}"

    def paint(axes: Axes) -> None:
        cycles, classes = chosen.shape
        norm = TwoSlopeNorm(0, -_OCTAVES, _OCTAVES)
        ratios = np.column_stack([np.zeros(classes), octaves[order]])
        heatmap = axes.imshow(ratios, cmap=_COLOURS, norm=norm, aspect="auto")
        cell_shares = np.column_stack([pool[0], chosen.T])[order]
        for (row, column), share in np.ndenumerate(cell_shares):
            if np.isnan(share) or (column and cycles > _CYCLES_WITH_NUMBERS):
                continue
            colour = _ink_on(_COLOURS(norm(np.nan_to_num(ratios[row, column]))))
            size = 8.5 if classes <= 12 else 7.5
            axes.text(column, row, points(share), ha="center", va="center", color=colour, fontsize=size)
        axes.axvline(0.5, color="white", linewidth=5)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        step = max(1, cycles // _CYCLES_WITH_NUMBERS)
        axes.set_xticks([0, *range(1, cycles + 1, step)], ["pool", *[str(cycle) for cycle in range(0, cycles, step)]])
        axes.xaxis.tick_top()
        axes.set_yticks(range(classes), [_short(results.class_names[label]) for label in order])
        axes.tick_params(axis="y", labelsize=8.5 if classes <= 12 else 7.5)
        colour_bar = axes.figure.colorbar(
            heatmap, ax=axes, orientation="horizontal", fraction=0.05, pad=0.04, aspect=32
        )
        colour_bar.outline.set_visible(False)
        colour_bar.set_ticks([-2, -1, 0, 1, 2], labels=["¼ of the pool's", "½", "as the pool", "2×", "4× the pool's"])
        colour_bar.ax.tick_params(labelsize=7.5)

    classes = len(results.class_names)
    height = 1.1 + classes * (0.27 if classes <= 12 else 0.19)
    return Figure(stem, strategy, _balance_in_words(results, chosen, pool), "", draw(stem, 5.0, height, paint), table)


def _balance_in_words(results: Results, chosen: Array, pool: Array) -> str:
    """Name the classes that were chosen most above and below their share in the pool, over all cycles."""
    known_cycles = ~np.isnan(chosen + pool).any(axis=1)
    if not known_cycles.any():
        return "There are no boxes to compare."
    shares, pool_shares = chosen[known_cycles].mean(axis=0), pool[known_cycles].mean(axis=0)
    ratios = np.divide(shares, pool_shares, out=np.full(len(shares), np.nan), where=pool_shares > 0)
    most, least = int(np.nanargmax(ratios)), int(np.nanargmin(ratios))
    names = results.class_names
    if len(names) == 1:
        return f"There is one class, {names[0]}."
    above, below = (f"{names[label]} (× {ratios[label]:.2f})" for label in (most, least))
    return f"Most above its share in the pool: {above}; most below: {below}."


def _ink_on(colour: tuple[float, float, float, float]) -> str:
    """Return black or white, whichever can be read better: one has a contrast of 4.5 to 1 with any colour."""
    channels = np.array(colour[:3])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ [0.2126, 0.7152, 0.0722])
    return "black" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def evenness(shares: Array) -> Array:
    """Return how evenly classes share the boxes, [...], of shares [..., classes]: entropy over its maximum.

    1 where all classes have as many, 0 where one has all (Pielou, *The measurement of diversity in different types of
    biological collections*, J. Theoret. Biol. 13, 1966); NaN without boxes.
    """
    relative_entropy: Array = entr(np.asarray(shares)).sum(axis=-1) / np.log(max(2, shares.shape[-1]))
    return relative_entropy


def cycle_figures(results: Results) -> list[Figure]:
    """Draw how evenly each strategy chose among the classes in each cycle, and its boxes per image."""
    shares = class_shares(results)
    by_round = shares.groupby(ROUND, sort=False)
    boxes = by_round[["chosen", "left"]].sum()
    images = results.batches.set_index(ROUND)[["images", "pool"]]
    rounds = pd.DataFrame(
        {
            "chosen_evenness": by_round["chosen_share"].agg(evenness),
            "pool_evenness": by_round["pool_share"].agg(evenness),
            "chosen_boxes": boxes["chosen"] / images["images"],
            "pool_boxes": boxes["left"] / images["pool"],
        }
    ).reset_index()
    evenness_caption = (
        "Entropy of the classes’ shares among the boxes chosen in a cycle, divided by its maximum: 1 where all "
        "classes have as many boxes, 0 where one has all. Over all cycles and seeds: {means}; the pool "
        "of cycle 0 has {pool:.3f}. Few boxes are less even than the pool that they are drawn from, by chance."
    )
    boxes_caption = (
        "Over all cycles and seeds: {means}; the pool of cycle 0 has {pool:.2f}. "
        "A strategy that chooses crowded images gets more boxes for the same number of images."
    )
    evenness_title, boxes_title = "How evenly classes are chosen", "Boxes per image"
    return [
        _cycle_figure(
            results,
            rounds,
            "class_evenness",
            "evenness",
            evenness_title,
            "evenness of classes, 0 to 1",
            evenness_caption,
        ),
        _cycle_figure(
            results, rounds, "boxes_an_image", "boxes", boxes_title, "boxes per chosen image", boxes_caption
        ),
    ]


def _cycle_figure(
    results: Results, rounds: pd.DataFrame, stem: str, measure: str, title: str, label: str, caption: str
) -> Figure:
    """Draw a line for each strategy, of its batches, and the pool of cycle 0; `caption` has their means filled in."""
    chosen_column, pool_column = f"chosen_{measure}", f"pool_{measure}"
    styles, with_seeds = strategy_styles(results.config), strategies_with_seeds(results)
    first_pool = rounds.loc[(rounds["strategy"] == rounds["strategy"][0]) & (rounds["cycle"] == 0), pool_column]

    def paint(axes: Axes) -> None:
        for strategy, (colour, marker) in styles.items():
            rows = rounds[rounds["strategy"] == strategy]
            for _, seed_rows in rows.groupby("seed", sort=False) if strategy in with_seeds else ():
                cells = seed_rows["cycle"], seed_rows[chosen_column]
                axes.plot(*cells, marker, color=colour, alpha=0.4, markersize=3.5, markeredgewidth=0)
            mean = rows.groupby("cycle")[chosen_column].mean()
            axes.plot(mean.index, mean, marker=marker, color=colour, markeredgecolor="white", label=strategy)
        axes.axhline(first_pool.mean(), color=FAINT, linestyle="--", linewidth=1.2, label="pool of cycle 0")
        axes.set(xlabel="cycle", ylabel=label)
        if measure == "boxes":
            axes.set_ylim(bottom=0)
        axes.set_xlim(-0.5, results.config.cycles - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        legend_above(axes)

    drawing = draw(stem, 5.0, 3.0 + legend_height([*results.config.strategies, "pool of cycle 0"]), paint)
    means_by_strategy = rounds.groupby("strategy", sort=False)[chosen_column].mean()
    digits = 2 if measure == "boxes" else 3
    means = ", ".join(f"{strategy} {mean:.{digits}f}" for strategy, mean in means_by_strategy.items())
    table = Table(stem, rounds[[*ROUND, chosen_column, pool_column]])
    conclusion = _extremes(means_by_strategy, f".{digits}f", _EXTREMES[measure])
    return Figure(stem, title, conclusion, caption.format(means=means, pool=first_pool.mean()), drawing, table)


def _extremes(means_by_strategy: pd.Series, form: str, words: tuple[str, str]) -> str:
    """Name the strategies with the highest and the lowest mean."""
    means = means_by_strategy.dropna()
    if not len(means):
        return "There are no boxes to compare."
    highest, lowest = str(means.idxmax()), str(means.idxmin())
    most = f"{highest} chose {words[0]} ({means[highest]:{form}})"
    return f"{most}, {lowest} {words[1]} ({means[lowest]:{form}})." if len(means) > 1 else f"{most}."
