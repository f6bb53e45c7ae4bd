"""What is wrong with a data set, and what was repaired: collected in one pass, grouped by kind, counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mgral.errors import InputError

LONGEST = 1000
"""Characters of a place that are kept."""
NAMED = 5
"""Places of a kind that a message names; `mgral data --json` lists all."""
NAMED_HERE = 1000
"""Places of a kind that a message names where nothing else lists them."""
ALL_LISTED = " (--json lists all)"
"""Text after the number of places that a message leaves out."""
IN_LOG = " (the log of the step lists all, above this message)"
"""As `ALL_LISTED`, of steps that are run by Snakemake: `mgral.cli.found.faults_shown` prints the list."""


@dataclass(frozen=True)
class Finding:
    """A kind of fault, or of repair."""

    title: str
    """What it is, as a plural: `images are not on disk`."""
    advice: str
    """For a fault what to do, for a repair what was done."""


@dataclass
class Findings:
    """The faults and the repairs of a data set, by kind, each with the places where they were found."""

    faults: dict[Finding, list[str]] = field(default_factory=dict)
    """They stop the step."""
    repairs: dict[Finding, list[str]] = field(default_factory=dict)
    """What was harmless and is used, and what was done to use it."""

    def fault(self, kind: Finding, place: str) -> None:
        """Note a fault at a place: the file, and the entry in it."""
        self.faults.setdefault(kind, []).append(_shown(place))

    def repair(self, kind: Finding, place: str) -> None:
        """Note a repair at a place: the file, and the entry in it."""
        self.repairs.setdefault(kind, []).append(_shown(place))

    def raise_faults(self, subject: str = "the data set", all_listed: str = ALL_LISTED) -> None:
        """Raise a FaultyDataError that lists all faults of the subject by kind, if there are any."""
        if self.faults:
            raise FaultyDataError(self, subject, all_listed)

    def as_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return every kind with all of its places."""
        return {"faults": _listed(self.faults), "repairs": _listed(self.repairs)}


class FaultyDataError(InputError):
    """A data set, or something else of the user's, that cannot be used, with all that was found."""

    def __init__(self, findings: Findings, subject: str = "the data set", all_listed: str = ALL_LISTED) -> None:
        self.findings = findings
        total = sum(map(len, findings.faults.values()))
        kinds = len(findings.faults)
        head = f"{subject} cannot be used: {total} fault{'s' * (total > 1)} of {kinds} kind{'s' * (kinds > 1)}"
        named = NAMED if all_listed else NAMED_HERE
        super().__init__("\n".join([f"{head}; nothing is written", *described(findings.faults, all_listed, named)]))


def described(
    places_by_kind: Mapping[Finding, list[str]], all_listed: str = ALL_LISTED, named: int | None = NAMED
) -> list[str]:
    """Return lines of text: each kind with its count and advice, and the first places of each; all, if None."""
    lines = []
    for kind, places in places_by_kind.items():
        lines.append(f"  {kind.title[0].upper()}{kind.title[1:]} ({len(places)}): {kind.advice}")
        lines += [f"    {place}" for place in places[:named]]
        if named is not None and len(places) > named:
            lines.append(f"    and {len(places) - named} more{all_listed}")
    return lines


def _shown(place: str) -> str:
    """Return a place as a terminal can show it: names in data sets contain anything, and are of any length."""
    if len(place) > LONGEST:
        place = f"{place[: LONGEST // 2]} ... {place[-LONGEST // 2 :]}"
    return place if place.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in place)


def _listed(places_by_kind: Mapping[Finding, list[str]]) -> list[dict[str, Any]]:
    """Return the kinds as JSON, each with its number and all of its places."""
    return [
        {"kind": kind.title, "advice": kind.advice, "count": len(places), "places": places}
        for kind, places in places_by_kind.items()
    ]
