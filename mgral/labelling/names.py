"""Finds the picture that a file of a labelling tool means by a name."""

import re
from collections import defaultdict
from pathlib import PurePosixPath
from posixpath import splitext
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

from mgral.labelling.state import Project

UPLOADED = re.compile(r"^[0-9a-f]{8}(?:-|__)(?=.)")
"""What Label Studio puts before the name of an uploaded picture, which all its formats keep."""


class NamedImages(NamedTuple):
    """The images that a name can mean; one where it is clear."""

    images: set[int]
    of_folder: bool = False
    """Whether they were found only without the folders of the name: those of another folder may be meant."""
    uploaded: bool = False
    """Whether they were found only without what Label Studio may have put before the name."""
    sent: bool = False
    """Whether they were found only by the name in a batch, without the folders of the name."""

    @property
    def complete(self) -> bool:
        """Whether nothing of the name was left out."""
        return not (self.of_folder or self.uploaded or self.sent)


class Names:
    """Finds the image that a file of a labelling tool means by a name."""

    def __init__(self, project: Project) -> None:
        self._found: dict[str, set[int]] = defaultdict(set)
        for image, given in project.files.items():
            file = normalize("NFC", given)
            below, last = file.partition("/")[2], file.rpartition("/")[2]
            for name in (file, below, last, splitext(below)[0], splitext(last)[0]):
                self._found[name].add(image)
        self._sent: dict[str, set[int]] = defaultdict(set)
        for image, state in project.images.items():
            for name in (normalize("NFC", one) for one in state.names):
                self._sent[name].add(image)
                self._sent[PurePosixPath(name).stem].add(image)

    def find(self, name: str) -> set[int]:
        """Return the images that a name can mean; one where it is clear."""
        return self.look_up(name).images

    def look_up(self, name: str) -> NamedImages:
        """Return the images that a name can mean, and what was left out of the name to find them.

        By the complete path, by the end of the path or the name in a batch, by the last part of the path alone,
        and by that without its suffix.
        """
        path = PurePosixPath(plain := normalize("NFC", name.replace("\\", "/").removeprefix("./")))
        # A name without folders is first of all what a picture was sent under, whatever is called so now.
        if path.name != plain and (known := self._found.get(plain)):
            return NamedImages(known)
        ends = ("/".join(path.parts[start:]) for start in range(1, len(path.parts) - 1))
        below = next((known for end in ends if (known := self._found.get(end))), set[int]())
        ways = [(cut(one), cut is not str) for one in (path.name, path.stem) for cut in (str, _not_uploaded)]
        nothing: tuple[set[int], bool] = set(), False
        sent, uploaded = next(((known, cut) for way, cut in ways if (known := self._sent.get(way))), nothing)
        if below or sent:
            return NamedImages(
                below & sent or below | sent, False, uploaded and not below, path.name != plain and not below
            )
        found, uploaded = next(((known, cut) for way, cut in ways if (known := self._found.get(way))), nothing)
        plainer = unquote(name)
        return NamedImages(found, path.name != plain, uploaded) if found or plainer == name else self.look_up(plainer)


def _not_uploaded(name: str) -> str:
    return UPLOADED.sub("", name)
