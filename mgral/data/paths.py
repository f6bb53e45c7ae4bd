"""Files by the names that annotations give them, and in other places."""

import os
import shutil
import unicodedata
from collections import deque
from pathlib import Path, PurePosixPath

from mgral.errors import InputError

PICTURES = (
    ".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2", ".avif", ".ppm", ".pgm",
)  # fmt: skip
"""Suffixes of picture files, in small letters."""


def is_file(path: Path) -> bool:
    """Return whether there is a regular file of this name; a name that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder, sorted; linked folders are followed, each once.

    Raises
    ------
    InputError
        Where a folder cannot be read.
    """
    paths: list[Path] = []
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        real_path = os.path.realpath(parent)
        if real_path in visited:
            folders.clear()
            continue
        visited.add(real_path)
        folders.sort()
        paths += [path for name in files if (path := Path(parent, name)).is_file()]
    return sorted(paths)


def is_text(value: object) -> bool:
    """Return whether a value is a text with something in it that a file system and a terminal can take."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def spelling_on_disk(folder: Path, name: str) -> str:
    """Return a name as the disk has it, where letters with accents are written in another way; else as it is."""
    if is_file(folder / name):
        return name
    forms = (unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
    return next((form for form in forms if is_file(folder / form)), name)


def shown_files(root: Path, folder: str, suffixes: tuple[str, ...]) -> list[str]:
    """Return the files in a folder and the folders in it that have a suffix, sorted, less the hidden ones.

    The folder and the files are relative to the root. Suffixes are in small letters, and those of files in any.

    Links to folders are followed after all else, so that each folder is read once, under the same name everywhere.
    Raises InputError where a folder cannot be read.
    """
    paths: list[str] = []
    visited: set[str] = set()
    waiting = deque([folder])
    while waiting:
        start = waiting.popleft()
        for parent, folders, files in os.walk(root / start, onerror=_refuse):
            real_path = os.path.realpath(parent)
            shown = [] if real_path in visited else sorted(name for name in folders if not name.startswith("."))
            links = [name for name in shown if Path(parent, name).is_symlink()]
            folders[:] = [name for name in shown if name not in links]
            if real_path in visited:
                continue
            visited.add(real_path)
            relative = PurePosixPath(start, Path(parent).relative_to(root / start).as_posix())
            waiting += [str(relative / name) for name in links]
            paths += [
                str(relative / name) for name in files if name.lower().endswith(suffixes) and not name.startswith(".")
            ]
    return sorted(paths)


def _refuse(error: OSError) -> None:
    """Raise InputError for a folder that cannot be read; one that is not there has no files."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise InputError(f"{error.filename}: {error.strerror}; correct its permissions or the disk, and run again")


def link_or_copy(source: Path, target: Path) -> bool:
    """Put a file in a second place, a hard link where there can be one, else a copy; return whether it is a link."""
    try:
        os.link(source.resolve(), target)  # not the link, where the source is one
    except OSError:
        shutil.copyfile(source, target)
        return False
    return True
