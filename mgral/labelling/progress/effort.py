"""What labelling took: time, and how much of what was proposed people had to change. Computed from the ledger."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mgral.evaluation.overlap import pairs
from mgral.labelling.exchange.reading import SAME
from mgral.labelling.ledger import Event, Line
from mgral.labelling.records import CONFIRMED
from mgral.labelling.state import BoxRow, Project

LEFT_OPEN = 10.0
"""Multiple of the median time above which a time may be that of a page left open."""
SURELY_LABELLING = 600.0
"""Seconds up to which a time is never taken for that of a page left open."""
KNOWN_PART = 0.5
"""Part of the labels that must have a time, for hours to be said."""


@dataclass(frozen=True)
class Times:
    """Times of labelling, of all labels that came back for pictures that were sent.

    A time is not usable if it is 0 or less, or above both ten minutes and ten times the median. A label without a
    usable time counts as the mean of the others. There are no hours if fewer than half of the labels have one.
    """

    seconds: Mapping[int, tuple[float | None, ...]]
    """Seconds of each label of an image, by its number; None for a label without a usable time."""
    left_open: int
    """Times that are too long to be of labelling."""
    boxes: int
    """Boxes of these labels."""

    @property
    def labels(self) -> int:
        """How many labels came back."""
        return sum(map(len, self.seconds.values()))

    @property
    def without_time(self) -> int:
        """Labels without a time that counts."""
        return sum(time is None for times in self.seconds.values() for time in times)

    @property
    def mean(self) -> float | None:
        """Seconds of a label; None where too few have a time."""
        known_times = [time for times in self.seconds.values() for time in times if time is not None]
        return float(np.mean(known_times)) if known_times and len(known_times) >= KNOWN_PART * self.labels else None

    def hours(self, images: Iterable[int] | None = None) -> float | None:
        """Return the hours of some images, or of all; those of images that were not sent are 0."""
        mean = self.mean
        if mean is None:
            return None
        wanted = self.seconds if images is None else [image for image in images if image in self.seconds]
        return sum(mean if time is None else time for image in wanted for time in self.seconds[image]) / 3600


@dataclass
class Accepted:
    """What became of the boxes that were proposed in a round, in labels that came back."""

    unchanged: int = 0
    moved: int = 0
    """Boxes that people corrected: changed by more than `SAME` pixels but still with an IoU of 0.5, or of
    another class."""
    removed: int = 0
    added: int = 0
    """Boxes that people drew without a proposed one."""

    @property
    def proposed(self) -> int:
        """Boxes that were proposed in pictures that came back."""
        return self.unchanged + self.moved + self.removed

    @property
    def share(self) -> float | None:
        """Part of the proposed boxes that nobody changed, 0 to 1."""
        return self.unchanged / self.proposed if self.proposed else None


@dataclass
class Effort:
    """What labelling took in a project."""

    times: Times
    accepted: dict[int, Accepted] = field(default_factory=dict)
    """By round, of those in which boxes were proposed and labels came back."""


def effort(lines: Sequence[Line], project: Project) -> Effort:
    """Return what labelling took, given all changes of a project and what it is after them.

    A label counts for the round in which its image was sent last when it was imported. Of a person's labels of an
    image in a round the latest counts: labelling tools add the time of a correction to that of the label.
    """
    sent: dict[int, tuple[int, Sequence[BoxRow]]] = {}
    latest: dict[tuple[int, int, str], tuple[Event, Sequence[BoxRow]]] = {}
    for line in lines:
        for event in line.events:
            if line.what == "sent" and "image" in event:
                sent[event["image"]] = event["round"], event["boxes"]
            elif line.what == "labels" and not event.get("known") and event["image"] in sent:
                number, proposed = sent[event["image"]]
                latest[event["image"], number, event["by"]] = event, proposed
    accepted: dict[int, Accepted] = defaultdict(Accepted)
    for (_, number, _), (event, proposed) in latest.items():
        if number and proposed and event["state"] in CONFIRMED:  # round 0 is another look at people's own boxes
            proposed_today, confirmed = (_with_classes_of_today(project, rows) for rows in (proposed, event["boxes"]))
            _compare(proposed_today, confirmed, accepted[number])
    return Effort(_times(latest), dict(sorted(accepted.items())))


def _times(latest: Mapping[tuple[int, int, str], tuple[Event, Sequence[BoxRow]]]) -> Times:
    times = {key: _positive(event.get("seconds")) for key, (event, _) in latest.items()}
    known_times = [time for time in times.values() if time is not None]
    limit = max(SURELY_LABELLING, LEFT_OPEN * float(np.median(known_times))) if known_times else math.inf
    seconds: dict[int, tuple[float | None, ...]] = {}
    for (image, _, _), time in times.items():
        seconds[image] = (*seconds.get(image, ()), time if time is not None and time <= limit else None)
    boxes = sum(len(event["boxes"]) for event, _ in latest.values())
    return Times(seconds, sum(time > limit for time in known_times), boxes)


def _positive(seconds: float | None) -> float | None:
    """Return a time that is finite and above 0, and None for any other."""
    return seconds if seconds is not None and 0 < seconds < math.inf else None


def _with_classes_of_today(project: Project, boxes: Sequence[BoxRow]) -> list[BoxRow]:
    return [(x, y, w, h, project.class_today(label)) for x, y, w, h, label in boxes]


def _compare(proposed: list[BoxRow], confirmed: list[BoxRow], accepted: Accepted) -> None:
    """Note what became of proposed boxes: first those that are still there, then the others by their overlap."""
    unmatched = list(confirmed)
    changed = []
    for box in proposed:
        same = next((candidate for candidate in unmatched if _unmoved(box, candidate)), None)
        if same is None:
            changed.append(box)
        else:
            unmatched.remove(same)
            accepted.unchanged += 1
    moved = pairs(_sides(changed), _sides(unmatched))
    accepted.moved += moved
    accepted.removed += len(changed) - moved
    accepted.added += len(unmatched) - moved


def _unmoved(first: BoxRow, second: BoxRow) -> bool:
    """Return whether boxes are of the same class, and no side differs by more than `SAME`."""
    return first[4] == second[4] and bool((np.abs(_corners(first) - _corners(second)) <= SAME).all())


def _corners(box: BoxRow) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x, y, width, height = box[:4]
    return np.array([x, y, x + width, y + height])


def _sides(boxes: Sequence[BoxRow]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([box[:4] for box in boxes], dtype=np.float64).reshape(-1, 4)
