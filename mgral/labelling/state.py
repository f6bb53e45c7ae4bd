"""What a project is at a moment, computed from its ledger."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mgral.data.formats.snapshot import Picture
from mgral.errors import InputError
from mgral.labelling.ledger import FILE, Event, Line, read_ledger
from mgral.labelling.records import CONFIRMED, State

BoxRow = tuple[float, float, float, float, int]
"""x, y, width, height in pixels of the upright picture, id of the class."""


@dataclass(frozen=True)
class Label:
    """What one person said about an image, as the ledger has it."""

    by: str
    """The person; empty where the file did not say."""
    state: State
    boxes: tuple[BoxRow, ...]
    """With the ids of the classes as they were then."""
    at: str
    """When the person did it, in ISO 8601, UTC; empty where the file did not say."""
    imported: tuple[str, int]
    """When it was imported, and by which line of the ledger, from 0."""
    seconds: float | None = None
    reason: str = ""
    knew: frozenset[int] = frozenset()
    """Ids of the classes that there were when the person looked."""

    def same_as(self, other: "Label") -> bool:
        """Return whether importing the other one changes nothing."""
        return (self.state, sorted(self.boxes), self.at, self.seconds, self.reason) == (
            other.state,
            sorted(other.boxes),
            other.at,
            other.seconds,
            other.reason,
        )

    @property
    def age(self) -> tuple[str, int]:
        """Key that sorts labels, the oldest first: by the time that the tool gave, or else of the import."""
        return self.at or self.imported[0], self.imported[1]


@dataclass(frozen=True)
class Named:
    """A name that a class has or had."""

    id: int
    start: int
    """Line of the ledger from which it had the name."""
    end: int | None = None
    """Line from which it had it no more, if it has not."""


@dataclass(frozen=True)
class PushTarget:
    """Where one share of a project's batches is pushed to: a tool, its server, and a person."""

    tool: str
    """The labelling tool, as its tasks are called in `tasks/`."""
    url: str
    """Of its server."""
    person: str
    """Whose share; empty where batches are not split."""


@dataclass(frozen=True)
class OnServer:
    """A project on the server of a labelling tool."""

    id: str
    """The server's own number of it."""
    rounds: frozenset[int]
    """Rounds that were pushed there, 0 for pictures to check again."""


@dataclass
class ImageState:
    """What is known of an image."""

    labels: dict[str, Label] = field(default_factory=dict)
    """The latest label of each person, by the person."""
    role: str = ""
    """`audit`, `test`, or empty for an image to train on."""
    sent_in: int | None = None
    """Round of the batch that it was sent in last, unless it was called back."""
    names: set[str] = field(default_factory=set)
    """Names under which it was sent to labelling tools."""
    sent_boxes: tuple[BoxRow, ...] = ()
    """Boxes that it was sent with last."""
    sent_at: int = -1
    """Line of the ledger in which it was sent last."""
    withdrawn: str | None = None
    """Why it was taken out of the project, if it was."""

    @property
    def state(self) -> State:
        """The state, see `records.State`."""
        if self.withdrawn is not None:
            return "withdrawn"
        if (confirmed := self.confirmed) is not None:
            return confirmed.state
        states = {label.state for label in self.labels.values()}
        for state in ("skipped", "draft"):
            if state in states:
                return state
        return "untouched" if self.sent_in is None else "sent"

    @property
    def confirmed(self) -> Label | None:
        """The latest label that a person confirmed, by the time of labelling where that is known."""
        confirmed_labels = [label for label in self.labels.values() if label.state in CONFIRMED]
        return max(confirmed_labels, key=lambda label: label.age, default=None)


@dataclass
class Project:
    """A project as its ledger says."""

    id: str = ""
    """Identity: a random one, so that files of another project are recognised."""
    exif: str = ""
    """The setting `exif` by which the sizes of pictures were read; nothing in older projects."""
    pictures: dict[int, Picture] = field(default_factory=dict)
    """Pictures by number, with the files in which they were first found."""
    files: dict[int, str] = field(default_factory=dict)
    """Present file of each picture by number, FOLDER/path; of missing ones the last known."""
    copies: dict[str, int] = field(default_factory=dict)
    """Pictures of which other files are copies, byte for byte, by these files, FOLDER/path."""
    images: dict[int, ImageState] = field(default_factory=dict)
    classes: dict[int, str] = field(default_factory=dict)
    """Classes that there are, by id."""
    became: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Classes that no longer exist, by id, and what each became: one class if merged, several if split."""
    rounds: dict[int, str] = field(default_factory=dict)
    """Digest of the snapshot of each round that was opened."""
    trainings: set[int] = field(default_factory=set)
    """Rounds that train a detector and choose nothing."""
    sent: dict[int, list[int]] = field(default_factory=dict)
    """Images of each round whose batch was made."""
    chosen: dict[int, set[int]] = field(default_factory=dict)
    """Images that the strategy chose, by round; only of rounds with controls."""
    controls: dict[int, set[int]] = field(default_factory=dict)
    """Images drawn at random as controls, by round; some may be in `chosen` too."""
    pushed: dict[PushTarget, OnServer] = field(default_factory=dict)
    """Projects on servers, the one that was pushed to last at the end."""
    imported: dict[str, set[int]] = field(default_factory=dict)
    """Images whose labels were imported from a file, by the digest of the file."""
    named: dict[str, list[Named]] = field(default_factory=dict)
    """Classes that have or had a name, the earliest first."""
    class_lines: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Line of the ledger, and time, at which each class was added; no time for those that were there from the start,
    before any image was labelled or sent."""

    def counts(self) -> Counter[State]:
        """Return how many images there are in each state."""
        return Counter(image.state for image in self.images.values())

    def of_round(self, round_number: int) -> list[int]:
        """Return the images of a round's batch, but for those that were recalled and sent again in a later round."""
        return [
            image for image in self.sent.get(round_number, []) if (self.images[image].sent_in or 0) <= round_number
        ]

    def final_boxes(self, label: Label) -> list[BoxRow]:
        """Return the boxes of a label with today's classes; those of a class that was split keep their old id."""
        return [(x, y, w, h, self.class_today(class_id)) for x, y, w, h, class_id in label.boxes]

    def class_today(self, class_id: int) -> int:
        """Return what a class was merged into, or itself."""
        while len(self.became.get(class_id, ())) == 1:
            (class_id,) = self.became[class_id]
        return class_id

    def incomplete(self, label: Label) -> frozenset[int]:
        """Return the ids of today's classes that a label says nothing about.

        Such a class was added after the person had looked, or it came from a split and the label has a box of the
        class that was split.
        """
        missing = set()
        for class_id in self.classes:
            if not self._looked_for(class_id, label):
                missing.add(class_id)
        for class_id in {self.class_today(box[4]) for box in label.boxes}:
            missing |= self._split_into(class_id)
        return frozenset(missing & set(self.classes))

    def _looked_for(self, class_id: int, label: Label) -> bool:
        """Return whether the person knew a class, all classes merged into it, or a class that was split into it."""
        if class_id in label.knew:
            return True
        merged = [old_id for old_id, new_ids in self.became.items() if new_ids == (class_id,)]
        split = [old_id for old_id, new_ids in self.became.items() if len(new_ids) > 1 and class_id in new_ids]
        return (bool(merged) and all(self._looked_for(old_id, label) for old_id in merged)) or any(
            self._looked_for(old_id, label) for old_id in split
        )

    def _split_into(self, class_id: int) -> set[int]:
        """Return the ids of today's classes that a class was split into; none if it was not split."""
        parts = self.became.get(class_id, ())
        if len(parts) < 2:
            return set()
        return {self.class_today(part) for part in parts}.union(*(self._split_into(part) for part in parts))


def load_project(folder: Path) -> Project:
    """Read the ledger of the project in a folder; raises InputError as `project_lines` and `replay` do."""
    return replay(project_lines(folder))


def project_lines(folder: Path) -> list[Line]:
    """Return all changes of the project in a folder.

    Raises
    ------
    InputError
        As `read_ledger` does, and where the first line, or another one too, is not a project's.
    """
    lines = read_ledger(folder)
    if not lines or lines[0].what != "project" or any(line.what == "project" for line in lines[1:]):
        raise InputError(
            f"{folder / FILE} does not begin with a project, or has several; restore it from a copy or from Git"
        )
    return lines


def replay(lines: Iterable[Line]) -> Project:
    """Compute what a project is from its changes, the oldest first.

    Raises
    ------
    InputError
        Where a line does not fit those before it.
    """
    project = Project()
    for line_number, line in enumerate(lines):
        try:
            for event in line.events:
                _APPLY[line.what](project, event, line_number, line)
            if line.sha256:
                project.imported.setdefault(line.sha256, set()).update(event["image"] for event in line.events)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{FILE}: line {line_number + 1} does not fit those before it ({type(error).__name__}: {error}); "
                "bring the file back from a copy or from Git"
            ) from None
    return project


def _project(project: Project, event: Event, line_number: int, line: Line) -> None:
    project.id, project.exif = str(event["id"]), str(event.get("exif", ""))


def _picture(project: Project, event: Event, line_number: int, line: Line) -> None:
    picture = Picture(**event)
    if picture.id in project.pictures:
        raise ValueError(f"picture {picture.id} is there already")
    project.pictures[picture.id] = picture
    project.files[picture.id] = picture.file
    project.copies.pop(picture.file, None)
    project.images[picture.id] = ImageState()


def _moved(project: Project, event: Event, line_number: int, line: Line) -> None:
    project.files[event["id"]] = event["file"]
    project.copies.pop(event["file"], None)


def _copy(project: Project, event: Event, line_number: int, line: Line) -> None:
    project.copies[event["file"]] = project.pictures[event["image"]].id


def _classes(project: Project, event: Event, line_number: int, line: Line) -> None:
    begun = bool(project.sent) or any(image.labels for image in project.images.values())
    leaving = [entry["id"] for entry in event["rename"]] + [old_id for old_id, _ in event["become"]]
    for named_classes in project.named.values():
        named_classes[:] = [
            replace(named, end=line_number) if named.id in leaving and named.end is None else named
            for named in named_classes
        ]
    for entry in [*event["add"], *event["rename"]]:
        project.named.setdefault(entry["name"], []).append(Named(entry["id"], line_number))
    for entry in event["add"]:
        project.classes[entry["id"]] = entry["name"]
        project.class_lines[entry["id"]] = line_number, line.at if begun else ""
    for entry in event["rename"]:
        project.classes[entry["id"]] = entry["name"]
    for old_id, new_ids in event["become"]:
        del project.classes[old_id]
        project.became[old_id] = tuple(new_ids)


def _role(project: Project, event: Event, line_number: int, line: Line) -> None:
    project.images[event["image"]].role = line.what


def _label(project: Project, event: Event, line_number: int, line: Line) -> None:
    if event.get("known"):  # what the file says was there already
        return
    image = project.images[event["image"]]
    boxes = tuple((float(x), float(y), float(w), float(h), int(c)) for x, y, w, h, c in event["boxes"])
    knew = frozenset(
        class_id
        for class_id in {*project.classes, *project.became}
        if knew_class(project.class_lines[class_id], event.get("at", ""), image.sent_at)
    )
    image.labels[event["by"]] = Label(
        by=event["by"],
        state=event["state"],
        boxes=boxes,
        at=event.get("at", ""),
        imported=(line.at, line_number),
        seconds=event.get("seconds"),
        reason=event.get("reason", ""),
        knew=knew | {box[4] for box in boxes},
    )


def knew_class(added: tuple[int, str], at: str, sent_at: int) -> bool:
    """Return whether a class was there when a person looked at an image.

    Parameters
    ----------
    added
        Line of the ledger, and time, at which the class was added; no time for one from the start.
    at
        When the person looked, empty where that is not known.
    sent_at
        Line in which the image was sent last, -1 where it was not: labels that the project began with know all
        classes that there are when they are imported.
    """
    if not added[1]:
        return True
    return added[1] <= at if at else sent_at < 0 or added[0] < sent_at


def _withdrawn(project: Project, event: Event, line_number: int, line: Line) -> None:
    project.images[event["image"]].withdrawn = event["reason"]


def _recalled(project: Project, event: Event, line_number: int, line: Line) -> None:
    image = project.images[event["image"]]
    for images in (project.chosen, project.controls):
        images.get(image.sent_in or 0, set()).discard(event["image"])
    image.sent_in, image.withdrawn = None, None


def _round(project: Project, event: Event, line_number: int, line: Line) -> None:
    project.rounds[event["round"]] = event["snapshot"]
    if event.get("training"):
        project.trainings.add(event["round"])


def _sent(project: Project, event: Event, line_number: int, line: Line) -> None:
    sent_images = project.sent.setdefault(event["round"], [])
    if "image" not in event:  # all that was chosen had been labelled or withdrawn meanwhile
        return
    image = project.images[event["image"]]
    image.sent_in, image.sent_at = event["round"], line_number
    image.names.add(event["name"])
    image.sent_boxes = tuple((float(x), float(y), float(w), float(h), int(c)) for x, y, w, h, c in event["boxes"])
    sent_images.append(event["image"])
    for kind, images in (("chosen", project.chosen), ("control", project.controls)):
        if event.get(kind):
            images.setdefault(event["round"], set()).add(event["image"])


def _pushed(project: Project, event: Event, line_number: int, line: Line) -> None:
    target = PushTarget(event["tool"], event["url"], event["person"])
    earlier = project.pushed.pop(target, None)
    rounds = earlier.rounds if earlier is not None and earlier.id == event["id"] else frozenset()
    project.pushed[target] = OnServer(event["id"], rounds | {event["round"]})


_APPLY = {
    "project": _project,
    "pictures": _picture,
    "moved": _moved,
    "copies": _copy,
    "classes": _classes,
    "audit": _role,
    "test": _role,
    "labels": _label,
    "withdrawn": _withdrawn,
    "recalled": _recalled,
    "round": _round,
    "sent": _sent,
    "pushed": _pushed,
}
