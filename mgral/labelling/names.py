"""Finds the picture that a file of a labelling tool means by a name."""

import re
from pathlib import PurePosixPath
from posixpath import splitext
from typing import NamedTuple
from unicodedata import normalize
from urllib.parse import unquote

from mgral.data.paths import PICTURES
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
    other_suffix: bool = False
    """Whether they were found only without the suffix of the name, which is that of a picture."""

    @property
    def complete(self) -> bool:
        """Whether nothing of the name was left out."""
        return not (self.of_folder or self.uploaded or self.sent or self.other_suffix)


class Names:
    """Finds the image that a file of a labelling tool means by a name."""

    def __init__(self, project: Project) -> None:
        self._whole, self._without_suffix, self._cleaned = _Known({}, {}), _Known({}, {}), _Known({}, {})
        copies = ((image, file) for file, image in project.copies.items())
        for image, given in (*project.files.items(), *copies):
            file = normalize("NFC", given)
            below, last = file.partition("/")[2], file.rpartition("/")[2]
            for name in (file, below, last):
                self._whole.found.setdefault(name, set()).add(image)
            for name in (below, last):
                self._without_suffix.found.setdefault(splitext(name)[0], set()).add(image)
            for name in (last, splitext(last)[0]):
                self._cleaned.found.setdefault(_cleaned(name), set()).add(image)
        for image, state in project.images.items():
            for name in (normalize("NFC", one) for one in state.names):
                self._whole.sent.setdefault(name, set()).add(image)
                self._without_suffix.sent.setdefault(PurePosixPath(name).stem, set()).add(image)
                for kept in (name, PurePosixPath(name).stem):
                    self._cleaned.sent.setdefault(_cleaned(kept), set()).add(image)

    def find(self, name: str) -> set[int]:
        """Return the images that a name can mean; one where it is clear."""
        return self.look_up(name).images

    def look_up(self, name: str) -> NamedImages:
        """Return the images that a name can mean, and what was left out of the name to find them.

        By the complete path, by the end of the path or the name in a batch, by the last part of the path alone. Only
        if none is called so, by these without a suffix.
        """
        path = PurePosixPath(plain := normalize("NFC", name.replace("\\", "/").removeprefix("./")))
        if (known := _look_up(self._whole, path, plain, (path.name,))).images:
            return known
        if UPLOADED.match(path.name):
            last = _not_uploaded(path.name)
            if (known := _look_up(self._cleaned, PurePosixPath(last), last, (last,))).images:
                return known._replace(of_folder=path.name != plain and not known.sent, uploaded=True)
        known = _look_up(self._without_suffix, path, plain, (path.name, path.stem))
        plainer = unquote(name)
        if not known.images and plainer != name:
            return self.look_up(plainer)
        return known._replace(other_suffix=path.suffix.lower() in PICTURES)


class _Known(NamedTuple):
    """Images by what they are called, with or without a suffix."""

    found: dict[str, set[int]]
    """By ends of their paths in the project's folders."""
    sent: dict[str, set[int]]
    """By their names in batches."""


def _look_up(known: _Known, path: PurePosixPath, plain: str, last: tuple[str, ...]) -> NamedImages:
    """Return the images by a path, as it is and as text, or by what its last part can be."""
    # A name without folders is first of all what a picture was sent under, whatever is called so now.
    if path.name != plain and plain in known.found:
        return NamedImages(known.found[plain])
    ends = ("/".join(path.parts[start:]) for start in range(1, len(path.parts) - 1))
    below = next((known.found[end] for end in ends if end in known.found), set[int]())
    ways = [(cut(one), cut is not str) for one in last for cut in (str, _not_uploaded)]
    nothing: tuple[set[int], bool] = set(), False
    sent, uploaded = next(((known.sent[way], cut) for way, cut in ways if way in known.sent), nothing)
    if below or sent:
        images = below & sent or below | sent
        return NamedImages(images, False, uploaded and not below, path.name != plain and not below)
    found, uploaded = next(((known.found[way], cut) for way, cut in ways if way in known.found), nothing)
    return NamedImages(found, path.name != plain, uploaded)


def _not_uploaded(name: str) -> str:
    return UPLOADED.sub("", name)


def _cleaned(name: str) -> str:
    """Return a name as Django stores an uploaded file: blanks become `_`, and many other characters are left out."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))
