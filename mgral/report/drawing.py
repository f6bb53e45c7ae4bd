"""How every figure looks, and how it becomes SVG and PNG that are the same, byte for byte, on each run."""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.typing import RcKeyType

SEED_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
FEW_LINES = 6
"""Most lines of a figure that are all drawn with their names, bands and single points."""
INK = "#22272e"
FAINT = "#8a929c"
_PNG_DPI = 192
"""Twice the 96 pixels of an inch on a screen."""

_STYLE: dict[RcKeyType, object] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#b6bcc4",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": "#e6e9ed",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markeredgewidth": 0.6,
    "lines.markersize": 6.5,
    "svg.fonttype": "path",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.major.size": 0,
}


def percent_tick(value: float, _: object) -> str:
    """Return the label of a tick at a part of 1, in percent with all of its digits: two ticks never look alike."""
    # 0.0 is added, as -0.0 would have a sign.
    return f"{round(100 * value, 6) + 0.0:g}".replace("-", "−")


def signed_percent_tick(value: float, _: object) -> str:
    """Return the label of a tick at a difference, as `percent_tick` does, with its sign."""
    return f"{'+' if round(100 * value, 6) > 0 else ''}{percent_tick(value, None)}"


@dataclass(frozen=True)
class Table:
    """A CSV file in tables/."""

    stem: str
    """Name of the file without its suffix."""
    rows: pd.DataFrame

    @property
    def csv(self) -> bytes:
        """The file; floats keep every digit, and what is not known is an empty cell."""
        return self.rows.to_csv(index=False, lineterminator="\n").encode()


@dataclass(frozen=True)
class Drawing:
    """The same picture in two formats."""

    svg: str
    """A document."""
    png: bytes
    """192 pixels an inch, twice what a screen shows."""

    @property
    def inline(self) -> str:
        """The `svg` element alone, for a page that contains several."""
        return self.svg[self.svg.index("<svg") :]


@dataclass(frozen=True)
class Figure:
    """A drawing in figures/ and the table with the numbers behind it, which several figures can share."""

    stem: str
    """Name of the files without their suffix."""
    title: str
    conclusion: str
    """A sentence made from the numbers: what the figure shows, for those too who cannot see it."""
    caption: str
    """How to read it."""
    drawing: Drawing
    table: Table

    @property
    def files(self) -> dict[str, bytes]:
        """The contents of its files by their names."""
        return {f"{self.stem}.svg": self.drawing.svg.encode(), f"{self.stem}.png": self.drawing.png}


def draw(stem: str, width: float, height: float, paint: Callable[[Axes], None]) -> Drawing:
    """Return a drawing of `width` x `height` inches with what `paint` puts on its axes.

    The ids of its SVG start with `stem` and a dot, which no stem contains, so that several can share a page.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": stem}):
        canvas = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(canvas)
        paint(canvas.add_subplot())
        svg_file = io.BytesIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        canvas.savefig(svg_file, format="svg", metadata=no_metadata)
        # Everything has its place by now; to lay it out again would take as long as to draw it.
        canvas.set_layout_engine("none")
        FigureCanvasAgg(canvas)
        png_file = io.BytesIO()
        canvas.savefig(png_file, format="png", dpi=_PNG_DPI, metadata={"Software": None})
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg_file.getvalue().decode(), flags=re.DOTALL)
    svg = re.sub(r"<!DOCTYPE.*?>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{stem}.", svg)
    # The page, not the drawing, decides how wide it is; the viewBox keeps its proportions.
    svg = re.sub(r' width="[^"]*pt" height="[^"]*pt"', "", svg, count=1)
    return Drawing(svg, png_file.getvalue())


def legend_above(axes: Axes) -> None:
    """Name the lines in rows above the axes, whose drawing is to be higher by `legend_height`."""
    names = axes.get_legend_handles_labels()[1]
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=_legend_columns(names),
        columnspacing=1.0,
        handlelength=1.6,
        borderaxespad=0.2,
    )


def legend_height(names: Sequence[str]) -> float:
    """Return the inches that `legend_above` takes for lines of these names."""
    return 0.12 + 0.19 * math.ceil(len(names) / _legend_columns(names))


def _legend_columns(names: Sequence[str]) -> int:
    return 4 if max(map(len, names)) <= 12 + 4 * (len(names) <= 4) else 3


def seed_colour(position: int) -> str:
    """Return the colour of the seed at a position of the configured list."""
    return SEED_COLOURS[position % len(SEED_COLOURS)]
