"""Benchmark `claims`: the differences that docs/results/protocol.md names, with their p values, as a page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import ttest_rel

from mgral.config import load_config
from mgral.errors import InputError
from mgral.report.bootstrap import FEWEST_SEEDS
from mgral.report.curves import mean_heights
from mgral.report.detectors import TABLE, Array, scores_of
from mgral.report.results_page import markdown_table
from mgral.report.spread import PairedDifference, points, points_interval

METHOD = "mgral_greedy"
SAME_METHOD = ("mgral_greedy", "mgral")
"""MGRAL without and with an agent: neither is one of the others."""
FIXED = ("random", "sqrt_counts", "class_presence")
"""What it is compared with, beside the best of all others."""
COSTS = ("images", "boxes")
COLUMNS = (
    "set",
    "compared with",
    "seeds",
    "points",
    "Student's 95 %",
    "bootstrap 95 %",
    "p",
    "p by Holm",
    "by boxes",
)
INTRODUCTION = """# The confirmatory comparison

The differences that the [protocol](protocol.md) names: `mgral_greedy` minus another strategy, paired by seed, in
points of mAP@[.5:.95] on the test images, in the mean height of the curve over labelled images. p is that of the
paired t test. Holm's correction is over all lines that have one: the four differences of each set, or three where the
best other is a named one. The last column is the difference over labelled boxes, with the outer ends of its two
intervals; it is not tested.

The best other is chosen by the same seeds, so its lead is partly chance. `mgral`, the same with an agent, is none of
the others and not tested. The page is written from the files beside the pages of the sets, by

    python -m benchmarks claims {configurations} --output {output}
"""
INTERIM = """
**Not complete.** The protocol has {planned} seeds; so far there are {found}. Nothing is decided by these lines.
"""


class Line(NamedTuple):
    """A difference of `mgral_greedy` and another strategy."""

    name: str
    """The experiment."""
    other: str
    by: Mapping[str, PairedDifference]
    """By each kind of labels."""
    p: float
    """Of the paired t test over labelled images; NaN where it is not tested, or of too few seeds."""


@click.command("claims")
@click.argument("configurations", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")
def command(configurations: Sequence[Path], output: Path) -> None:
    """Write a page of the protocol's differences, from the files beside the results pages of some experiments.

    These are in the folder of the page, as `mgral results` writes them.
    """
    lines = [line for path in configurations for line in _lines(path, output.parent)]
    corrected = holm([line.p for line in lines])
    rows = [_cells(line, value) for line, value in zip(lines, corrected, strict=True)]
    table = markdown_table(COLUMNS, rows)
    introduction = INTRODUCTION.format(configurations=" ".join(map(str, configurations)), output=output)
    planned = max(len(load_config(path).seeds) for path in configurations)
    if (found := min(line.by["images"].spread.n for line in lines)) < planned:
        introduction += INTERIM.format(planned=planned, found=found)
    output.write_text(f"{introduction}\n{table}\n", encoding="utf-8")


def holm(values: Sequence[float]) -> list[float]:
    """Return p values after Holm's correction over those that are known (Holm 1979); NaN stays.

    Whoever calls those at most 0.05 different is wrong in one of them or more in at most 5 % of cases.
    """
    given = np.asarray(values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    corrected = np.full(len(given), np.nan)
    factors: npt.NDArray[np.int64] = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * given[order]), 1)
    return [float(value) for value in corrected]


def _lines(path: Path, pages: Path) -> Iterator[Line]:
    config = load_config(path)
    table = pages / config.experiment / f"{TABLE}.csv"
    if not table.exists():
        raise InputError(f"{table} is missing; write the page of {config.experiment} first: mgral results")
    detectors = scores_of([pd.read_csv(table)], config)
    heights = {cost: mean_heights(detectors, "map", cost) for cost in COSTS}
    for other, tested in compared_with(heights["images"]):
        by = {cost: PairedDifference.of(found[METHOD], found[other]) for cost, found in heights.items()}
        pair = heights["images"][METHOD], heights["images"][other]
        enough = tested and len(pair[0]) >= FEWEST_SEEDS
        yield Line(config.experiment, other, by, float(ttest_rel(*pair).pvalue) if enough else np.nan)


def compared_with(heights: Mapping[str, Array]) -> Iterator[tuple[str, bool]]:
    """Yield the strategies that `mgral_greedy` is compared with, and whether the difference is tested.

    Parameters
    ----------
    heights
        Mean heights of each strategy's curves, [seeds].
    """
    yield from ((other, True) for other in FIXED)
    others = [name for name in heights if name not in (*SAME_METHOD, *FIXED)]
    best = max([*FIXED, *others], key=lambda name: heights[name].mean())
    if best not in FIXED:
        yield best, True
    yield from ((other, False) for other in (*others, "mgral") if other != best)


def _cells(line: Line, corrected: float) -> tuple[str, ...]:
    found, boxes = line.by["images"], line.by["boxes"]
    return (
        line.name,
        line.other,
        str(found.spread.n),
        points(found.spread.mean, sign=True),
        points_interval(found.student, sign=True),
        points_interval(found.bootstrap, sign=True),
        _probability(line.p),
        _probability(corrected),
        f"{points(boxes.spread.mean, sign=True)} ({points_interval(boxes.interval, sign=True)})",
    )


def _probability(value: float) -> str:
    return "–" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
