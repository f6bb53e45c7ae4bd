"""The contact sheet of a batch: one page that a person can view, print and pass on."""

import base64
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from mgral.compute.progress import tracked
from mgral.config import PictureSettings
from mgral.data.decoding import PictureError, decode, pillow_limits
from mgral.labelling.records import Batch, FoundBox, Task
from mgral.labelling.results import ClassResult
from mgral.report.rendering import environment
from mgral.report.styles import class_colours

LONGEST_SIDE = 416
"""Longest side of a thumbnail in pixels: sharp at the width of a card on a screen of high resolution."""
MOST_BYTES = 25_000
"""Most bytes of a thumbnail, if a quality allows it: 500 of them make a page of about 15 MB."""
QUALITIES = (80, 65, 50, 35, 20, 10)
"""JPEG qualities in the order in which they are tried; the last is used if all give more than `MOST_BYTES`."""
MOST_TAGGED = 12
"""Most boxes of a picture whose scores are written beside them; more would hide the picture."""
MARKS = {
    "audit": "audit set: drawn at random, to measure the detector by, never trained on",
    "again": "labelled before, to be looked at again",
}
"""Explanations of the labels in `Task.groups`."""


@dataclass(frozen=True)
class Card:
    """A picture of the sheet."""

    task: Task
    source: str | None
    """JPEG as a data URI; None where the picture cannot be opened."""
    counts: tuple[tuple[str, int], ...]
    """Proposed boxes by class, most first."""

    @property
    def tagged(self) -> tuple[FoundBox, ...]:
        """The boxes whose scores are written at them."""
        return self.task.boxes if len(self.task.boxes) <= MOST_TAGGED else ()

    @property
    def description(self) -> str:
        """What the picture shows, for those who do not see it."""
        box_counts = ", ".join(f"{name} {count}" for name, count in self.counts)
        return f"{self.task.name}: {box_counts or 'no boxes proposed'}"


def contact_sheet(
    batch: Batch,
    notes: Sequence[str],
    sources: Mapping[int, str | None],
    results: Sequence[ClassResult] = (),
    person: str = "",
) -> str:
    """Return a page (HTML) of all pictures of a batch with their proposed boxes, in the order of their ranks.

    It needs no other file and no network. A picture that cannot be opened leaves an empty card.

    Parameters
    ----------
    notes
        Why these pictures were chosen, a paragraph each.
    sources
        Their thumbnails, as `thumbnails` gives them.
    results
        What the detector can do, for a table; none for no table.
    person
        Whose share of a batch it is; empty for all of it.
    """
    cards = [
        Card(task, sources[task.image], tuple(Counter(found_box.box.label for found_box in task.boxes).most_common()))
        for task in sorted(batch.tasks, key=lambda task: task.rank)
    ]
    colours = dict(zip(batch.classes, class_colours(len(batch.classes)), strict=True))
    marks = Counter(mark for task in batch.tasks for mark in task.groups)
    jinja_environment = environment("mgral.labelling")
    jinja_environment.filters["ink"] = _ink
    return jinja_environment.get_template("sheet.html.jinja").render(
        batch=batch,
        notes=notes,
        cards=cards,
        class_colours=colours,
        counts=Counter(found_box.box.label for task in batch.tasks for found_box in task.boxes),
        marks=[(mark, count, MARKS.get(mark, "")) for mark, count in marks.items()],
        unopened=sum(card.source is None for card in cards),
        results=results,
        person=person,
    )


def thumbnails(tasks: Sequence[Task], settings: PictureSettings) -> dict[int, str | None]:
    """Return a small upright JPEG of each picture as a data URI, by the number of the image.

    None where the file cannot be read, or is of another size than the task says: its boxes would be in wrong places.

    Parameters
    ----------
    settings
        How files become pixels.
    """
    with pillow_limits(settings.max_pixels), ThreadPoolExecutor(os.cpu_count()) as pool:
        pending = pool.map(lambda task: _source(task, settings), tasks)
        sources = list(tracked(pending, "contact sheet", len(tasks), "picture"))
    return {task.image: source for task, source in zip(tasks, sources, strict=True)}


def _source(task: Task, settings: PictureSettings) -> str | None:
    try:
        size = task.width, task.height
        pixels = decode(task.path.read_bytes(), task.name, size, settings, least_side=LONGEST_SIDE).pixels
    except (OSError, PictureError):
        return None
    pixels.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return "data:image/jpeg;base64," + base64.b64encode(_jpeg(pixels)).decode()


def _jpeg(pixels: Image.Image) -> bytes:
    """Return a JPEG of the best quality that needs no more than `MOST_BYTES`."""
    content = b""
    for quality in QUALITIES:
        file = io.BytesIO()
        pixels.save(file, "JPEG", quality=quality, optimize=True)
        content = file.getvalue()
        if len(content) <= MOST_BYTES:
            break
    return content


def _ink(colour: str) -> str:
    """Return black or white, whichever is easier to read on a colour, #rrggbb."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"
