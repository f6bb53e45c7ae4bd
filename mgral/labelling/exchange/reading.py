"""What readers of all formats share: how they are to read, what they note, and boxes cut to their picture."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from mgral.artefacts.files import refuse_repeated
from mgral.data.check import DUPLICATES, LEAST_SIDE, ROUNDING
from mgral.data.findings import Finding, Findings
from mgral.data.paths import is_text
from mgral.labelling.exchange.outlines import Corners
from mgral.labelling.exchange.sources import Source
from mgral.labelling.records import Box, Returned

SizeOf = Callable[[str], tuple[int, int] | None]
"""Width and height of the upright picture, in pixels, by the name in the file; None where it is not known."""
SentBoxes = Callable[[str], Sequence[Box]]
"""The boxes that a picture was sent with, by the name in the file; none where it was sent without."""
Shapes = Literal["envelope", "refuse"]
Empty = Literal["unknown", "checked"]

UNREADABLE = Finding("files of labels cannot be read", "export them again, or copy them again")
NOT_ALL = Finding("files of labels lack what their format asks for", "export them again, in the format that is meant")
NO_PICTURE = Finding("entries name no picture", "give each a file name, or remove them")
NO_CLASS = Finding("boxes have no class", "choose one in the labelling tool, or remove the boxes, and export again")
SEVERAL_CLASSES = Finding("boxes have several classes", "leave one in the labelling tool, and export again")
NO_NUMBERS = Finding("boxes are not finite numbers, or have negative sides", "correct or remove them")
OUTSIDE = Finding(
    "boxes lie outside of their picture", "correct or remove them; are they of a picture of another size?"
)
CUT = Finding("boxes leave their picture", "cut at its border")
NO_AREA = Finding("boxes have no area", "left out")
NO_BOX = Finding("shapes are none that a box can be drawn around", "draw boxes in their place, or remove them")
FRACTIONS = Finding(
    "files have all boxes within the first pixel of their pictures", "give pixels; these are fractions of the picture"
)
NO_LABELS = Finding("files contain no picture and no task", "nothing is imported; export the right project")
NO_SIZE = Finding(
    "pictures of unknown size have labels in fractions", "add the pictures to the project, or remove their labels"
)
ENVELOPES = Finding("shapes are polygons, masks, ellipses or turned boxes", "the upright box around each is used")
SHAPES_REFUSED = Finding(
    "shapes are polygons, masks, ellipses or turned boxes",
    "draw boxes in their place, or set `shapes: envelope`, which uses the upright box around each",
)
OTHER_ANSWERS = Finding("answers are no boxes, such as tags, choices or texts", "left out")
NOT_TOLD = Finding(
    "pictures have no box, and the format does not show whether somebody checked them",
    "left as they are; if people checked every picture, `--empty checked` counts them as empty",
)
UNCHANGED = Finding(
    "pictures have exactly the boxes that they were sent with, and the format does not show whether somebody checked",
    "left as they are; if people checked every picture, `--empty checked` counts them as labelled",
)
SAME = 1.0
"""Pixels by which a corner may differ and still be the one that was sent: some formats have integer pixels only."""


@dataclass(frozen=True)
class Content:
    """What a reader found."""

    labels: list[Returned]
    classes: list[str]
    """Declared ones, in order."""
    project: str | None = None


@dataclass(frozen=True)
class Reading:
    """What is read, how, and where notes go."""

    source: Source
    size_of: SizeOf
    sent: SentBoxes | None
    shapes: Shapes
    empty: Empty
    leave_out_unknown: bool = False
    """Whether pictures that are not of the project are to be left out, whose size nobody knows."""
    today: Callable[[str], str] = str
    """Gives the name by which `sent` calls a class of the file."""
    findings: Findings = field(default_factory=Findings)

    def content(self, name: str) -> bytes | None:
        """Read a file; None, and a note, where it cannot be read."""
        try:
            return self.source.content(name)
        except OSError as error:
            self.findings.fault(UNREADABLE, f"{self.source.place(name)}: {error.strerror or error}")
            return None

    def json(self, name: str) -> Any:
        """Read JSON; None, and a note, where it is none."""
        content = self.content(name)
        if content is None:
            return None
        try:
            return json.loads(content, object_pairs_hook=refuse_repeated)
        except (ValueError, RecursionError) as error:
            self.findings.fault(UNREADABLE, f"{self.source.place(name)} is not JSON, or only a part: {error}")
            return None

    def lacks_size(self, place: str) -> None:
        """Note labels in fractions of a picture of unknown size, unless such pictures are left out."""
        if not self.leave_out_unknown:
            self.findings.fault(NO_SIZE, place)

    def takes_shape(self, place: str) -> bool:
        """Note a shape that is no upright box; return whether the box around it is to be used."""
        if self.shapes == "envelope":
            self.findings.repair(ENVELOPES, place)
        else:
            self.findings.fault(SHAPES_REFUSED, place)
        return self.shapes == "envelope"

    def add_box(
        self, boxes: list[Box], label: object, corners: Corners, size: tuple[int, int] | None, place: str
    ) -> None:
        """Add a box, cut to its picture where the size of that is known, or note why it is left out."""
        left, top, right, bottom = corners
        if not isinstance(label, str) or not is_text(label):
            self.findings.fault(NO_CLASS, place)
            return
        if right < left or bottom < top:
            self.findings.fault(NO_NUMBERS, f"{place}: {_shown(corners)}")
            return
        if size is not None:
            left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, size[0]), min(bottom, size[1])
            if right < left or bottom < top:
                self.findings.fault(OUTSIDE, f"{place}: {_shown(corners)} in {size[0]} x {size[1]}")
                return
        if min(right - left, bottom - top) < LEAST_SIDE:
            self.findings.repair(NO_AREA, place)
            return
        if max(abs(a - b) for a, b in zip(corners, (left, top, right, bottom), strict=True)) > ROUNDING:
            self.findings.repair(CUT, place)
        box = Box(left, top, right - left, bottom - top, label.strip())
        if box in boxes:
            self.findings.repair(DUPLICATES, place)
        else:
            boxes.append(box)

    def without_state(self, returned: Returned, automatic: bool = False) -> Returned:
        """Return a label of a format without states, with its state as far as it is known.

        Perhaps nobody has looked at pictures without boxes, or with exactly the boxes that were sent. They count as
        untouched, unless `empty` is "checked".

        Parameters
        ----------
        automatic
            Whether the file says that all boxes are a program's.
        """
        place = f"{self.source.path}: {returned.file}"
        if self.empty == "checked":
            return replace(returned, state="labelled" if returned.boxes else "empty")
        if not returned.boxes:
            self.findings.repair(NOT_TOLD, place)
        elif automatic or self._is_as_sent(returned):
            self.findings.repair(UNCHANGED, place)
        else:
            return replace(returned, state="labelled")
        return replace(returned, state="untouched", boxes=())

    def _is_as_sent(self, returned: Returned) -> bool:
        boxes = [box._replace(label=self.today(box.label)) for box in returned.boxes]
        return self.sent is not None and same_boxes(boxes, self.sent(returned.file))


def same_boxes(first: Sequence[Box], second: Sequence[Box]) -> bool:
    """Return whether two lists have the same boxes: the same classes, and corners that differ by at most `SAME`."""
    remaining = list(second)
    if len(first) != len(remaining):
        return False
    for box in first:
        twin = next((candidate for candidate in remaining if _is_same(box, candidate)), None)
        if twin is None:
            return False
        remaining.remove(twin)
    return True


def _is_same(first: Box, second: Box) -> bool:
    return first.label == second.label and all(
        abs(edge - other_edge) <= SAME
        for edge, other_edge in (
            (first.x, second.x),
            (first.y, second.y),
            (first.x + first.width, second.x + second.width),
            (first.y + first.height, second.y + second.height),
        )
    )


def _shown(corners: Corners) -> str:
    return " ".join(f"{value:g}" for value in corners)
