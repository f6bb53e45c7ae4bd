"""A data set as its makers publish it, into a folder: downloaded and unpacked, or found there and checked."""

import mmap
import os
import re
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from mgral.data.download.archives import Folder, Published
from mgral.data.download.fetch import check_space, fetch, find, find_in_mirror, has_checksum, mirror_folder
from mgral.errors import InputError, StepError

ARCHIVES = ".download"
"""Folder in the data set's, of archives that were downloaded; each goes as soon as it is unpacked."""
UNPACKED = "unpacked"
"""Folder therein of what is being unpacked."""


def download(folders: Sequence[Folder], root: Path, mirror: str | None = None) -> None:
    """Make `root` contain the folders of a data set, each completely or not at all.

    A folder that is there is counted and never written to. For one that is not, archives that lie in `root`, or in
    `mirror` where that is a folder, are used and kept; the others are downloaded and, once unpacked, deleted. Every
    archive is checked by its checksum, those beside a folder that is there too.

    Parameters
    ----------
    folders
        What the data set is made of; `mgral.data.download.archives.DATA_SETS` has them.
    root
        The folder of the data set.
    mirror
        A URL, or a folder, that has the archives by their names.

    Raises
    ------
    InputError
        For a folder that is not complete, an archive that is not the published one, a mirror that lacks it.
    StepError
        Where the network or the disk fails, or another process is downloading into `root`.
    """
    for folder in folders:
        if (root / folder.name).exists():
            _check_existing(folder, root)
    missing = [folder for folder in folders if not (root / folder.name).exists()]
    if not missing:
        return
    try:
        (root / ARCHIVES).mkdir(parents=True, exist_ok=True)
        with FileLock(root / ARCHIVES / "lock", timeout=0):
            shutil.rmtree(root / ARCHIVES / UNPACKED, ignore_errors=True)  # what a killed process left
            check_space(root, _bytes_needed(missing, root, mirror))
            for folder in missing:
                _make(folder, root, mirror)
    except Timeout:
        raise StepError(f"{root}: another process is downloading into it; run again when that has ended") from None
    except OSError as error:
        raise StepError(f"{root} cannot be written to ({error.strerror}); make it writable, and run again") from None


def _make(folder: Folder, root: Path, mirror: str | None) -> None:
    """Make a folder of the data set: obtain its archives, unpack and check them."""
    if (root / folder.name).exists():  # by another process, before this one had the lock
        return _check_existing(folder, root)
    archives = [_obtain(archive, root, mirror) for archive in folder.archives]
    unpacked = root / ARCHIVES / UNPACKED
    for archive in archives:
        unpack(archive, unpacked)
    _check_entries(folder, unpacked / folder.within)
    os.sync()  # once for all files: the archives may be deleted next
    (unpacked / folder.within).rename(root / folder.name)
    shutil.rmtree(unpacked)
    for archive in archives:
        if archive.parent == root / ARCHIVES:
            archive.unlink()


def unpack(archive: Path, target: Path) -> None:
    """Unpack a .tar or .zip into a folder; raises InputError where it is damaged or leads out of the folder."""
    print(f"unpack {archive.name}", file=sys.stderr)
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(target)
        else:
            with tarfile.open(archive, "r:") as tar:
                # Python 3.11 has it from 3.11.4 on; the checksum says that the archive is the published one anyway.
                tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
                tar.extractall(target)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{archive} cannot be unpacked ({error}); delete it, and run again") from None


def _obtain(archive: Published, root: Path, mirror: str | None) -> Path:
    """Return where an archive is; it is downloaded where neither `root` nor a local mirror has it."""
    local = mirror_folder(mirror)
    existing = find(archive, root) or (find_in_mirror(archive, local) if local else None)
    if existing:
        return existing
    path = root / ARCHIVES / archive.name
    if not (path.is_file() and has_checksum(path, archive.checksum)):
        fetch(archive, path, mirror)
    return path


def _bytes_needed(missing: Sequence[Folder], root: Path, mirror: str | None) -> int:
    """Return the bytes still needed: for all folders and, as they are made one after the other, for the largest
    download of one."""
    parents = [root, *filter(None, [mirror_folder(mirror)])]
    downloads = [
        sum(a.bytes or 0 for a in folder.archives if not any((parent / a.name).is_file() for parent in parents))
        for folder in missing
    ]
    present = sum(path.stat().st_size for path in (root / ARCHIVES).iterdir())
    return sum(folder.bytes for folder in missing) + max(downloads) - present


def _check_existing(folder: Folder, root: Path) -> None:
    _check_entries(folder, root / folder.name)
    for archive in folder.archives:
        find(archive, root)


def _check_entries(folder: Folder, path: Path) -> None:
    """Raise InputError where a folder has fewer images than it must, or a list in it another number."""
    for name, expected in folder.entries.items():
        entry = path / name
        count = _count(entry)
        if count != expected and not (entry.is_dir() and count > expected):
            raise InputError(
                f"{entry} has {count:,} of {expected:,} images, so {folder.name} is not complete; complete it, or "
                "move it away to have it downloaded"
            )


def _count(place: Path) -> int:
    """Count the files of a folder, the images in COCO JSON, or the lines of a list."""
    if place.is_dir():
        return sum(1 for _ in place.iterdir())
    if not place.is_file() or not place.stat().st_size:
        return 0
    if place.suffix == ".json":  # half a gigabyte, of which an image takes one "file_name" and nothing else does
        with place.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return sum(1 for _ in re.finditer(rb'"file_name"\s*:', text))
    return sum(1 for line in place.read_bytes().splitlines() if line.strip())
