"""The contact sheets: the images that each strategy ranked first, with their boxes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mgral.report.detectors import Array
from mgral.report.drawing import Table
from mgral.report.inline import inline_picture
from mgral.report.results import Results
from mgral.report.styles import class_colours

SHOWN = 12


@dataclass(frozen=True)
class Box:
    """A box in pixels of the thumbnail."""

    x: float
    y: float
    width: float
    height: float
    label: int


@dataclass(frozen=True)
class Pick:
    """An image of a contact sheet."""

    rank: int
    image_id: int
    file_name: str
    score: float
    source: str
    """JPEG as a data URI."""
    width: int
    height: int
    boxes: tuple[Box, ...]
    classes: tuple[tuple[int, int], ...]
    """(label, boxes) of the classes in the image, most boxes first."""


@dataclass(frozen=True)
class Sheet:
    """The first picks of a strategy in a cycle of the first seed."""

    strategy: str
    cycle: int
    chosen: int
    picks: tuple[Pick, ...]


@dataclass(frozen=True)
class LegendEntry:
    """A class and the colour of its boxes."""

    name: str
    colour: str


def contact_sheets(results: Results) -> list[Sheet]:
    """Gather the first picks of the first and of the last cycle of the first seed."""
    seed, last_cycle = results.config.seeds[0], results.config.cycles - 1
    batches = results.batches
    shown_batches = batches[(batches["seed"] == seed) & batches["cycle"].isin([0, last_cycle])]
    sheets = []
    for batch in shown_batches.sort_values("cycle", kind="stable").to_dict("records"):
        rows_and_scores = zip(batch["rows"][:SHOWN], batch["scores"][:SHOWN], strict=True)
        picks = tuple(_pick(results, rank, row, score) for rank, (row, score) in enumerate(rows_and_scores, start=1))
        sheets.append(Sheet(batch["strategy"], batch["cycle"], batch["images"], picks))
    return sheets


def legend(results: Results) -> list[LegendEntry]:
    """Return name and colour of each class, by label."""
    colours = class_colours(len(results.class_names))
    return [LegendEntry(name, colour) for name, colour in zip(results.class_names, colours, strict=True)]


def _pick(results: Results, rank: int, row: int, score: float) -> Pick:
    original_size = results.train.sizes[row]
    picture = inline_picture(results.images.image(row), original_size)
    scale = np.array([picture.width, picture.height]) / original_size
    boxes = tuple(
        _box(box * np.tile(scale, 2), int(label))
        for box, label in zip(results.train.boxes[row], results.train.labels[row], strict=True)
    )
    counts = results.class_counts[row]
    labels = sorted(np.flatnonzero(counts), key=lambda label: (-counts[label], label))
    return Pick(
        rank=rank,
        image_id=int(results.train.image_ids[row]),
        file_name=results.train.file_names[row],
        score=score,
        source=picture.source,
        width=picture.width,
        height=picture.height,
        boxes=boxes,
        classes=tuple((int(label), int(counts[label])) for label in labels),
    )


def _box(corners: Array, label: int) -> Box:
    x1, y1, x2, y2 = (round(float(value), 1) for value in corners)
    return Box(x1, y1, round(x2 - x1, 1), round(y2 - y1, 1), label)


def picks_table(sheets: list[Sheet]) -> Table:
    """Return the contact sheets as rows."""
    rows = [
        {
            "strategy": sheet.strategy,
            "cycle": sheet.cycle,
            "rank": pick.rank,
            "image": pick.image_id,
            "file_name": pick.file_name,
            "score": pick.score,
            "boxes": len(pick.boxes),
        }
        for sheet in sheets
        for pick in sheet.picks
    ]
    return Table("top_picks", pd.DataFrame(rows))
