"""Archives unpacked safely: ordinary files and folders, and nothing outside the target.

Members are written by name and content alone, so that neither a mode nor a link of the archive comes to the disk.
(tarfile's own `filter="data"` lets links pass that stay inside, and is not in Python 3.11 before 3.11.4.)
"""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from mgral.data.download.fetch import check_space, progress
from mgral.errors import InputError


class _Member(NamedTuple):
    name: str
    size: int
    is_folder: bool
    is_file: bool
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, target: Path, within: str) -> None:
    """Unpack what a .tar or .zip holds in its folder `within` into the folder `target`, which is made.

    Every member is looked at before the first is written.

    Raises
    ------
    InputError
        Naming archive and member: for a link, a device, an absolute path or one with `..`, wherever in the archive;
        for a damaged archive; and for one that holds nothing in `within`.
    StepError
        Where the disk has not enough space.
    """
    target.mkdir(parents=True, exist_ok=True)
    with _opened(archive) as members:
        inside = [(member, place) for member in members if (place := _place(archive, member, within))]
        if not inside:
            raise InputError(f"{archive}: holds no folder {within}; delete the archive, and get it from its makers")
        needed = sum(member.size for member, _ in inside)
        check_space(target, needed)
        with progress(needed, f"unpack {archive.name}") as bar:
            for member, place in inside:
                _write(member, target / place)
                bar.update(member.size)
    os.sync()  # once for all files: the archive may be deleted next


@contextmanager
def _opened(archive: Path) -> Iterator[Sequence[_Member]]:
    try:
        if archive.suffix == ".zip":
            with zipfile.ZipFile(archive) as packed:
                yield [_of_zip(packed, info) for info in packed.infolist()]
        else:
            with tarfile.open(archive) as tar:
                yield [
                    _Member(info.name, info.size, info.isdir(), info.isfile(), partial(tar.extractfile, info))
                    for info in tar.getmembers()
                ]
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{archive} is damaged ({error}); delete it, and run again") from None


def _of_zip(packed: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    """A zip made by a system without such modes gives none."""
    is_file = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG) and not info.is_dir()
    return _Member(info.filename, info.file_size, info.is_dir(), is_file, partial(packed.open, info))


def _place(archive: Path, member: _Member, within: str) -> PurePosixPath | None:
    """Return the path of a member in the target, None for what is not in `within`."""
    path = PurePosixPath(member.name)
    if not (member.is_file or member.is_folder) or path.is_absolute() or ".." in path.parts:
        raise InputError(
            f"{archive}: {member.name!r} is a link or leads out of the folder, so nothing was unpacked; delete the "
            "archive, and get it from its makers"
        )
    return path.relative_to(within) if path.is_relative_to(within) else None


def _write(member: _Member, path: Path) -> None:
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    assert source is not None  # as it is of a file
    with source, path.open("wb") as file:
        shutil.copyfileobj(source, file)
