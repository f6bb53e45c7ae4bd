"""The data of a round of a project, as they were when it was opened: files that never change.

`snapshot.json` has the labels; the pictures are listed in chunks that several rounds share, `pictures/<digest>.json`
beside the folder of the round.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mgral.artefacts.files import read_json
from mgral.errors import InputError

CHUNK = 2000
"""Largest number of pictures in a chunk, which one job decodes."""
PICTURES = "pictures"
"""Folder of the chunks, in the project's folder."""


@dataclass(frozen=True)
class Picture:
    """An image of a project."""

    id: int
    sha256: str
    """SHA-256 of the file, in hexadecimal digits."""
    file: str
    """FOLDER/path/below.jpg, with the name that the project gives the folder; as it was when it was found."""
    width: int
    """Width of the upright picture, in pixels."""
    height: int


@dataclass(frozen=True)
class Labelled:
    """An image whose objects are known."""

    id: int
    boxes: tuple[tuple[float, float, float, float, int], ...]
    """x, y, width, height in pixels of the upright picture, and the id of the class; none where it is checked and
    empty."""
    incomplete: tuple[int, ...] = ()
    """Ids of classes that it was not looked through for, as they came later."""


@dataclass(frozen=True)
class Snapshot:
    """What a round is computed from."""

    project: str
    """Identity of the project."""
    round: int
    """Number of the round, from 1; 0 for an experiment that is no round."""
    chunks: tuple[str, ...]
    """Digests of the chunks of all pictures known by then, in order."""
    classes: tuple[tuple[int, str], ...]
    """Id and name, ascending by id."""
    labelled: tuple[Labelled, ...]
    """Images to train on, ascending by id."""
    audit: tuple[Labelled, ...]
    """Images to evaluate on, ascending by id; never trained on."""
    left_out: tuple[int, ...]
    """Other images that cannot be chosen, ascending: sent and not back, drafts, skipped, withdrawn, missing ones, and
    those of the audit set without labels."""
    without: tuple[tuple[int, ...], ...] = ()
    """In an experiment that compares detectors: for each repetition, from 0, the labelled images that its detector is
    not trained on."""
    controls: int = 0
    """Images of the batch that are drawn at random, to compare the strategy with."""
    training: bool = False
    """Whether the round trains on all labels and chooses nothing; left out of the file where it does not."""

    def not_learnt(self, seed: int) -> tuple[int, ...]:
        """Return the labelled images that the detector of a repetition does not learn.

        Raises InputError where there are several detectors, and the repetition is none of theirs.
        """
        if self.without and not 0 <= seed < len(self.without):
            raise InputError(f"the snapshot is of repetitions 0 to {len(self.without) - 1}; there is none {seed}")
        return self.without[seed] if self.without else ()

    def as_json(self) -> dict[str, Any]:
        """Return the content of snapshot.json."""
        return {name: value for name, value in asdict(self).items() if name != "training" or value}


def load_snapshot(path: Path) -> Snapshot:
    """Read a snapshot.json; raises InputError where it is damaged."""
    values = read_json(path)
    try:
        return Snapshot(
            project=str(values["project"]),
            round=int(values["round"]),
            chunks=tuple(map(str, values["chunks"])),
            classes=tuple((int(number), str(name)) for number, name in values["classes"]),
            labelled=tuple(map(_labelled, values["labelled"])),
            audit=tuple(map(_labelled, values["audit"])),
            left_out=tuple(map(int, values["left_out"])),
            without=tuple(tuple(map(int, images)) for images in values.get("without", ())),
            controls=int(values.get("controls", 0)),
            training=bool(values.get("training", False)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error!r}); restore it from a copy or from Git") from None


def chunk_json(pictures: Sequence[Picture]) -> bytes:
    """Return the content of a chunk's file, whose name is its digest."""
    rows = ",\n".join(json.dumps(asdict(picture), ensure_ascii=False) for picture in pictures)
    return f"[\n{rows}\n]\n".encode()


def chunk_digest(content: bytes) -> str:
    """Return the digest by which a chunk is named, 16 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def load_chunk(path: Path) -> tuple[Picture, ...]:
    """Read a chunk; raises InputError where it is damaged or altered."""
    values = read_json(path)
    if chunk_digest(path.read_bytes()) != path.stem:
        raise InputError(f"{path} is altered; restore it from a copy or from Git")
    return tuple(Picture(**entry) for entry in values)


def _labelled(values: dict[str, Any]) -> Labelled:
    boxes = tuple((float(x), float(y), float(w), float(h), int(label)) for x, y, w, h, label in values["boxes"])
    return Labelled(int(values["id"]), boxes, tuple(map(int, values["incomplete"])))
