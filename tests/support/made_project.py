"""A project in memory, made of ledger lines."""

from itertools import count
from pathlib import Path

from mgral.labelling.ledger import Line
from mgral.labelling.records import Box, Returned, ReturnedFile
from mgral.labelling.state import replay

SIZE = (100, 80)


class MadeProject:
    """Collects changes, a second apart, and replays them."""

    def __init__(self, pictures=3, classes=("car", "dog"), folder="photos"):
        self.lines, self._seconds = [], count()
        self.add("project", {"id": "mine", "name": "mine"})
        self.add(
            "pictures",
            *(
                {
                    "id": n,
                    "sha256": f"{n:064x}",
                    "file": f"{folder}/p{n}.jpg",
                    "width": SIZE[0],
                    "height": SIZE[1],
                }
                for n in range(1, pictures + 1)
            ),
        )
        if classes:
            self.add("classes", change(add=[{"id": n, "name": name} for n, name in enumerate(classes, 1)]))

    def add(self, what, *events, file="", sha256=""):
        """Add a line; its time is so many seconds after midnight as there were lines."""
        self.lines.append(Line(moment(next(self._seconds)), "me", what, events, file, sha256))
        return self

    def label(self, image, boxes=((1, 2, 30, 40, 1),), by="", state=None, **more):
        """Add a label of one image."""
        state = state or ("labelled" if boxes else "empty")
        return self.add("labels", {"image": image, "by": by, "state": state, "boxes": list(boxes)} | more)

    def send(self, number, *images):
        """Add a batch."""
        events = [{"image": one, "round": number, "name": f"p{one}.jpg", "boxes": []} for one in images]
        return self.add("sent", *events)

    @property
    def project(self):
        """The project after all changes."""
        return replay(self.lines)


def moment(seconds):
    """Return a time as the ledger has it."""
    return f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}+00:00"


def change(**parts):
    """Return a change of classes."""
    return {"add": [], "rename": [], "become": []} | parts


def returned(name, *boxes, state=None, **more):
    """Return what a file says of a picture; boxes are x, y, width, height, label."""
    state = state or ("labelled" if boxes else "empty")
    return Returned(file=name, state=state, boxes=tuple(Box(*box) for box in boxes), **more)


def label_file(*labels, **more):
    """Return a file of labels as its reader gives it."""
    return ReturnedFile(Path("labels.json"), more.pop("format", "coco"), labels, ("car", "dog"), **more)
