"""Files over HTTP: resumed after a broken connection, and validated by their checksum only.

Only the steps `download` and `weights` lead here. Beside it only `mgral/labelling/servers/` speaks to a network.
"""

import hashlib
import os
import random
import re
import shutil
import sys
import time
from pathlib import Path
from typing import NoReturn

import requests
from tqdm import tqdm

from mgral.artefacts.files import atomic_path
from mgral.artefacts.integrity import WRITTEN
from mgral.data.download.archives import Checksum, Published
from mgral.errors import InputError, StepError

TRIES = 6
"""Number of failed attempts since the last byte arrived, at which a download fails."""
FIRST_WAIT = 1.0
"""Seconds before the second attempt; each further one waits twice as long, give or take a half."""
LONGEST_WAIT = 60.0
TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
CHUNK = 2**16
"""Bytes read at once; what a broken connection brought beyond the last complete chunk is asked for again."""
LOG_INTERVAL = 30.0
"""Seconds between two lines of progress if standard error is a file, so that long downloads are not silent."""
PASSING = {408, 425, 429, 500, 502, 503, 504}
"""HTTP status codes after which another attempt is worthwhile."""


def fetch(file: Published, path: Path, mirror: str | None = None) -> None:
    """Download a file to `path`, from its makers or from `mirror`, a URL or a folder that has it under its own name.

    What arrived is kept in `<path>.part`, from where the next attempt, or the next run, goes on. A complete file with
    another checksum is deleted and downloaded once more.

    Raises
    ------
    InputError
        Where the server does not have the file, or has another one.
    StepError
        Where the network fails for longer than the attempts last, or the disk is full.
    """
    local = mirror_folder(mirror)
    if local:
        with atomic_path(path) as copy:
            shutil.copyfile(find_in_mirror(file, local), copy)
        return
    url = file.url if mirror is None else f"{mirror.rstrip('/')}/{file.name}"
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            _complete(url, partial, file.bytes)
            if has_checksum(partial, file.checksum):
                partial.replace(path)
                WRITTEN.add(path)
                return
            partial.unlink()
    except OSError as error:
        raise StepError(f"{partial} cannot be written ({error.strerror}); free space, and run again") from None
    raise InputError(
        f"{url}: what arrived, twice, is not the published {file.name}, whose {file.checksum.algorithm} starts with "
        f"{file.checksum.digits}; it was deleted. Use another `data.mirror`, or none"
    )


def linked_checksum(url: str) -> Checksum:
    """Return the SHA-256 that a hub of large files announces for one; raises InputError and StepError as `fetch`."""
    try:
        response = requests.head(url, timeout=TIMEOUT)
        response.raise_for_status()
    except requests.HTTPError as error:
        raise InputError(f"{url}: {error}; set detector.weights to a file, or to null") from None
    except requests.RequestException as error:
        raise StepError(f"{url}: {error}; check the connection, or set detector.weights to a file") from None
    digits = response.headers.get("X-Linked-Etag", "").strip('"')
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise InputError(f"{url} names no checksum, so it cannot be verified; set detector.weights to a file")
    return Checksum("sha256", digits)


def find(file: Published, folder: Path) -> Path | None:
    """Return the file if it is in a folder; raises InputError where what is there is not the published one."""
    path = folder / file.name
    if not path.is_file():
        return None
    if not has_checksum(path, file.checksum):
        raise InputError(f"{path} is damaged, or not the published file; delete it, and run again")
    return path


def find_in_mirror(file: Published, folder: Path) -> Path:
    """Return the file in a mirror that is a folder; raises InputError as `find` does, and where it is not there."""
    path = find(file, folder)
    if path is None:
        raise InputError(f"{folder}: there is no {file.name} in it; add it, or correct `data.mirror`")
    return path


def mirror_folder(mirror: str | None) -> Path | None:
    """Return a mirror that is a folder of this machine, and no URL."""
    return Path(mirror) if mirror is not None and "://" not in mirror else None


def has_checksum(path: Path, checksum: Checksum) -> bool:
    """Return whether a file's hash is the published one."""
    digest = hashlib.new(checksum.algorithm)
    with path.open("rb") as file, progress(path.stat().st_size, f"check {path.name}") as bar:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest().startswith(checksum.digits)


def check_space(folder: Path, needed: int) -> None:
    """Raise StepError where `folder` has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StepError(
            f"{folder}: {needed / 1e9:.2f} GB are needed, but {free / 1e9:.2f} GB are free; free space, or give "
            "another folder"
        )


def progress(total: int | None, title: str, done: int = 0) -> "tqdm[NoReturn]":
    """Return a bar that counts bytes on standard error."""
    interval = 0.1 if sys.stderr.isatty() else LOG_INTERVAL
    return tqdm(total=total, initial=done, desc=title, unit="B", unit_scale=True, mininterval=interval)


def _complete(url: str, partial: Path, size: int | None) -> None:
    """Ask for what `partial` lacks, again and again, until nothing is left to ask for."""
    failures = 0
    while True:
        size_before = _file_size(partial)
        try:
            if size_before != size:
                _go_on(url, partial, size)
            if size in (None, _file_size(partial)):
                return
            reason = f"the connection was closed after {_file_size(partial):,} of {size:,} bytes"
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            reason = str(error)
        except requests.RequestException as error:
            if error.response is None or error.response.status_code not in PASSING:
                raise InputError(f"{url}: {error}; correct `data.mirror`, or leave it out") from None
            reason = str(error)
        failures = 1 if _file_size(partial) > size_before else failures + 1
        if failures == TRIES:
            break
        tqdm.write(f"{url}: {reason}; goes on", file=sys.stderr)
        time.sleep(min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT) * random.uniform(0.5, 1.5))
    raise StepError(
        f"{url}: {reason}; {_file_size(partial):,} bytes have arrived. Check the connection, or give a "
        "`data.mirror`, and run again: it continues from there"
    )


def _go_on(url: str, partial: Path, size: int | None) -> None:
    """Ask once for what `partial` lacks, or for all of it where the server sends no parts of files."""
    arrived = _file_size(partial)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={arrived}-"} if arrived else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if arrived != size and size is not None:
                partial.unlink()  # longer than the file: it is of another one
            return  # complete, if its checksum is right
        response.raise_for_status()
        start = arrived if response.status_code == requests.codes.partial_content else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        if size is not None and total not in (size, None):
            raise InputError(
                f"{url}: the server announces {total:,} bytes, but {size:,} are published; it has another file. "
                "Correct `data.mirror`, or leave it out"
            )
        _append_response(response, partial, start, size or total)


def _append_response(response: requests.Response, partial: Path, start: int, total: int | None) -> None:
    """Write a response behind the `start` bytes of a partial file that are there already."""
    check_space(partial.parent, (total or 0) - start)
    with (
        partial.open("ab" if start else "wb") as file,
        progress(total, partial.stem, start) as bar,
    ):
        try:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
        finally:
            file.flush()
            os.fsync(file.fileno())


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
