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
        self._whole, self._without_suffix, self._cleaned = _NameIndex({}, {}), _NameIndex({}, {}), _NameIndex({}, {})
        copies = ((image, file) for file, image in project.copies.items())
        for image, raw_file in (*project.files.items(), *copies):
            file = normalize("NFC", raw_file)
            path_in_folder, last_part = file.partition("/")[2], file.rpartition("/")[2]
            for name in (file, path_in_folder, last_part):
                self._whole.by_path.setdefault(name, set()).add(image)
            for name in (path_in_folder, last_part):
                self._without_suffix.by_path.setdefault(splitext(name)[0], set()).add(image)
            for name in (last_part, splitext(last_part)[0]):
                self._cleaned.by_path.setdefault(_cleaned(name), set()).add(image)
        for image, state in project.images.items():
            for name in (normalize("NFC", sent_name) for sent_name in state.names):
                self._whole.by_sent_name.setdefault(name, set()).add(image)
                self._without_suffix.by_sent_name.setdefault(PurePosixPath(name).stem, set()).add(image)
                for variant in (name, PurePosixPath(name).stem):
                    self._cleaned.by_sent_name.setdefault(_cleaned(variant), set()).add(image)

    def find(self, name: str) -> set[int]:
        """Return the images that a name can mean; one where it is clear."""
        return self.look_up(name).images

    def look_up(self, name: str) -> NamedImages:
        """Return the images that a name can mean, and what was left out of the name to find them.

        Images are looked up by the complete path, then by the end of the path or the name in a batch, then by the
        last part of the path alone. Only if none is called so, they are looked up by these without a suffix.
        """
        path = PurePosixPath(text := normalize("NFC", name.replace("\\", "/").removeprefix("./")))
        if (match := _look_up(self._whole, path, text, (path.name,))).images:
            return match
        if UPLOADED.match(path.name):
            last_part = _not_uploaded(path.name)
            if (match := _look_up(self._cleaned, PurePosixPath(last_part), last_part, (last_part,))).images:
                return match._replace(of_folder=path.name != text and not match.sent, uploaded=True)
        match = _look_up(self._without_suffix, path, text, (path.name, path.stem))
        unquoted = unquote(name)
        if not match.images and unquoted != name:
            return self.look_up(unquoted)
        return match._replace(other_suffix=path.suffix.lower() in PICTURES)


class _NameIndex(NamedTuple):
    """Images by what they are called, with or without a suffix."""

    by_path: dict[str, set[int]]
    """By ends of their paths in the project's folders."""
    by_sent_name: dict[str, set[int]]
    """By their names in batches."""


def _look_up(index: _NameIndex, path: PurePosixPath, text: str, last_parts: tuple[str, ...]) -> NamedImages:
    """Return the images that a path means, and what was left out of it to find them; see `Names.look_up`.

    Parameters
    ----------
    path, text
        The path, and the same as text.
    last_parts
        What its last part can be.
    """
    # A name without folders is first of all what a picture was sent under, whatever is called so now.
    if path.name != text and text in index.by_path:
        return NamedImages(index.by_path[text])
    ends = ("/".join(path.parts[start:]) for start in range(1, len(path.parts) - 1))
    path_images = next((index.by_path[end] for end in ends if end in index.by_path), set[int]())
    spellings = [(clean(part), clean is not str) for part in last_parts for clean in (str, _not_uploaded)]
    nothing: tuple[set[int], bool] = set(), False
    sent_images, uploaded = next(
        ((index.by_sent_name[spelling], is_cut) for spelling, is_cut in spellings if spelling in index.by_sent_name),
        nothing,
    )
    if path_images or sent_images:
        images = path_images & sent_images or path_images | sent_images
        return NamedImages(images, False, uploaded and not path_images, path.name != text and not path_images)
    named_images, uploaded = next(
        ((index.by_path[spelling], is_cut) for spelling, is_cut in spellings if spelling in index.by_path), nothing
    )
    return NamedImages(named_images, path.name != text, uploaded)


def _not_uploaded(name: str) -> str:
    """Return a name without what Label Studio puts before the name of an uploaded picture."""
    return UPLOADED.sub("", name)


def _cleaned(name: str) -> str:
    """Return a name as Django stores an uploaded file: blanks become `_`, and many other characters are left out."""
    return re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_"))
