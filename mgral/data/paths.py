"""Files by the names that annotations give them, and in other places."""

import os
import shutil
import unicodedata
from pathlib import Path


def is_file(path: Path) -> bool:
    """Return whether there is a regular file of this name; a name that cannot be one is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def files_below(folder: Path) -> list[Path]:
    """Return all files in a folder, sorted; linked folders are followed, each once."""
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [path for name in files if (path := Path(place, name)).is_file()]
    return sorted(found)


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


def link_or_copy(source: Path, target: Path) -> bool:
    """Put a file in a second place, a hard link where there can be one, else a copy; return whether it is a link."""
    try:
        os.link(source.resolve(), target)  # not the link, where the source is one
    except OSError:
        shutil.copyfile(source, target)
        return False
    return True
