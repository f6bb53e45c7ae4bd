"""What passes between a project and labelling tools: labels that come back, and tasks that go out."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from mgral.data.findings import Findings

State = Literal["untouched", "sent", "draft", "skipped", "empty", "labelled", "withdrawn"]
"""State of an image in a project.

- untouched: nobody was asked for it
- sent: in a batch, not returned
- draft: somebody began
- skipped: somebody decided not to label it
- empty: somebody looked, and there is no object
- labelled: somebody looked, and these are the objects
- withdrawn: taken out of the project

Only `empty` and `labelled` are trained or evaluated on.
"""
CONFIRMED: tuple[State, ...] = ("empty", "labelled")


class Box(NamedTuple):
    """An object: pixels of the upright picture, whose corner is (0, 0)."""

    x: float
    y: float
    width: float
    height: float
    label: str
    """Name of its class."""


class FoundBox(NamedTuple):
    """An object that a detector found, to be corrected by a person."""

    box: Box
    score: float
    """0 to 1."""


@dataclass(frozen=True)
class Returned:
    """What a file of a labelling tool says about one picture, by one person."""

    file: str
    """The picture's name, or path, in that file."""
    state: Literal["untouched", "draft", "skipped", "empty", "labelled"]
    boxes: tuple[Box, ...] = ()
    image: int | None = None
    """Number of the image in the project, where the file has it."""
    by: str = ""
    """Who labelled it; empty where the file does not say."""
    at: str = ""
    """When, in ISO 8601 with a time zone; empty where the file does not say."""
    seconds: float | None = None
    """Time spent, where the file says so."""
    reason: str = ""
    """Why it was skipped."""
    size: tuple[int, int] | None = None
    """Width and height of the picture according to the file, in pixels."""


@dataclass(frozen=True)
class ReturnedFile:
    """A file, or folder, of labels as its reader found it."""

    source: Path
    format: str
    labels: tuple[Returned, ...]
    classes: tuple[str, ...]
    """Names of the classes that it declares, those without a box included."""
    project: str | None = None
    """Identity of the project whose batch it is, where the file has it."""
    findings: Findings = field(default_factory=Findings)
    """Faults stop the import; repairs are lines for a person, such as polygons that became boxes."""


@dataclass(frozen=True)
class Task:
    """A picture to be labelled."""

    image: int
    """Number of the image in the project."""
    rank: int
    """Place in the batch, from 1; the most useful picture comes first."""
    path: Path
    """Its file on this machine."""
    name: str
    """The name that labelling tools know it by, unique in the batch; no folders."""
    width: int
    height: int
    """Size of the upright picture, in pixels."""
    score: float | None
    """Score by which it was chosen, on the strategy's own scale, or how sure a likely label error is; None for the
    audit set, controls, and pictures to check for a new class."""
    reason: str
    """Why it was chosen, in a few words."""
    boxes: tuple[FoundBox, ...] = ()
    """What the detector found, or what was labelled before, for a person to correct."""
    groups: tuple[str, ...] = ()
    """Labels for the task, such as `audit` or `again`."""
    chosen: bool = True
    """Whether its reason applies; False for a picture that was only drawn as a control."""
    control: bool = False
    """Whether it was drawn at random, to compare the strategy with; a chosen one may be drawn too."""


@dataclass(frozen=True)
class Batch:
    """The tasks of a round, best first."""

    project: str
    """Identity of the project."""
    title: str
    """Name of the project, for people."""
    round: int
    classes: tuple[str, ...]
    """Names, in the order of the project."""
    tasks: tuple[Task, ...]
