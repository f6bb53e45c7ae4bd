"""What the detector of a round can do, class by class, for people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEAST_BOXES = 10
"""Boxes of a class in the audit set from which its AP means something."""


@dataclass(frozen=True)
class ClassResult:
    """The score of one class in the audit set."""

    name: str
    boxes: int
    """Its labelled boxes there."""
    ap: float | None
    """AP@[.5:.95], 0 to 1; None where there are too few boxes."""
    ap_text: str
    """The AP in percent, or why there is none."""


def class_results(metrics: Mapping[str, Any], boxes: Mapping[str, int]) -> list[ClassResult]:
    """Return the AP of each class, or that it has too few boxes in the audit set for one.

    Parameters
    ----------
    metrics
        Content of metrics.json, as the step `evaluate` writes it.
    boxes
        Labelled boxes in the audit set by the name of the class; every class of the project, in its order.
    """
    ap_by_class = {row["name"]: row["map"] for row in metrics["per_class"]}
    rows = []
    for name, count in boxes.items():
        ap = ap_by_class.get(name) if count >= LEAST_BOXES else None
        ap_text = (
            f"too few boxes ({count} of {LEAST_BOXES})"
            if count < LEAST_BOXES
            else "-"
            if ap is None
            else f"{100 * ap:.1f}"
        )
        rows.append(ClassResult(name, count, ap, ap_text))
    return rows


def result_lines(rows: Sequence[ClassResult]) -> list[str]:
    """Return a table of classes, boxes and AP as lines for a terminal, with a header."""
    table = [("class", "boxes", "AP in %"), *((row.name, str(row.boxes), row.ap_text) for row in rows)]
    name_width, count_width = (_widest(row[column] for row in table) for column in (0, 1))
    return [f"{name:<{name_width}}  {count:>{count_width}}  {ap_text}" for name, count, ap_text in table]


def _widest(texts: Iterable[str]) -> int:
    return max(map(len, texts))
