"""What a labelling tool wrote: a file, the files of a folder, or those of a zip archive, which is never unpacked."""

import errno
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from mgral.data.paths import files_below
from mgral.errors import InputError

TEXTS = (".json", ".xml", ".txt", ".yaml", ".yml", ".names", ".data")
"""Suffixes of files that are read; pictures are only listed."""
LARGEST = 2**31
"""Most bytes of all texts of an archive, unpacked; a small archive can claim any size."""
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Source:
    """Files by their names."""

    path: Path
    names: tuple[str, ...]
    """Relative to the folder or archive, with slashes, sorted, less the hidden ones."""
    content: Callable[[str], bytes]
    """Reads a file by its name; raises OSError."""
    single: bool = False
    """Whether the path is the file itself."""

    def place(self, name: str) -> str:
        """Name a file in a message."""
        return str(self.path) if self.single else f"{self.path}/{name}"

    def ending(self, *suffixes: str) -> list[str]:
        """Return the names that end in one of the suffixes, in whatever case; a file by itself may have any."""
        return list(self.names) if self.single else [name for name in self.names if name.lower().endswith(suffixes)]


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, a folder or a zip archive.

    Raises
    ------
    InputError
        Where it cannot be opened, or an archive is damaged, names files outside of it, or is too large unpacked.
    """
    if path.is_dir():
        names = sorted(name for file in files_below(path) if _is_shown(name := file.relative_to(path).as_posix()))
        yield Source(path, tuple(names), lambda name: (path / name).read_bytes())
    elif not path.is_file():
        raise InputError(f"{path} is not there; correct the path")
    elif zipfile.is_zipfile(path) or path.suffix.lower() == ".zip":
        with _open_archive(path) as archive:
            members = _members(path, archive)
            yield Source(path, tuple(sorted(members)), lambda name: _unpacked(archive, members[name]))
    else:
        yield Source(path, (path.name,), lambda _: path.read_bytes(), single=True)


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the file") from None
    except _DAMAGED:
        raise InputError(f"{path} is no complete zip archive; export it again, or copy it again") from None


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive that are not hidden, by their names with slashes."""
    infos = {info.filename.replace("\\", "/"): info for info in archive.infolist() if not info.is_dir()}
    for name in infos:
        if name.startswith("/") or PureWindowsPath(name).drive or ".." in PurePosixPath(name).parts:
            raise InputError(f"{path} names a file outside of it, {name[:200]!r}; do not use it, export it again")
    shown = {name: info for name, info in infos.items() if _is_shown(name)}
    size = sum(info.file_size for name, info in shown.items() if name.lower().endswith(TEXTS))
    if size > LARGEST:
        raise InputError(f"{path} holds {size / 2**30:.1f} GB of text, more than {LARGEST / 2**30:.0f} GB; split it")
    return shown


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        return archive.read(info)
    except _DAMAGED as error:
        raise OSError(errno.EIO, f"it is damaged in its archive ({error})") from None


def _is_shown(name: str) -> bool:
    """Return whether neither a file nor a folder above it is hidden."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
