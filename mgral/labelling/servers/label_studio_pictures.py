"""How Label Studio gets at the pictures of tasks: it reads them from the disk, or they are uploaded."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from mgral.compute.progress import tracked
from mgral.errors import InputError, StepError
from mgral.labelling.exchange.label_studio_tasks import LOCAL_FILES
from mgral.labelling.names import UPLOADED
from mgral.labelling.servers.rest import TRIES, RefusedError, Rest, UnsureError

FILES, BYTES = 20, 32 * 2**20
"""Pictures, and bytes of them, in a request at most; a picture by itself may be larger."""
KEPT_NAME = re.compile(r"[-\w.]{1,60}")
"""Names that Label Studio does not change: Django takes other characters out, and cuts long ones."""


class Picture(NamedTuple):
    """A picture of a task."""

    image: int
    """Its number in the project."""
    path: Path
    """Its file."""


def serve(rest: Rest, number: str, title: str, folder: Path, first: str) -> str:
    """Let the server read pictures from the disk, and return how their addresses begin.

    The server must run where the folder is, with a document root above it; where that is, is tried out.

    Parameters
    ----------
    number
        Of the server's project.
    first
        Name of a picture in the folder, whose bytes are compared.

    Raises
    ------
    RefusedError
        Where it does not, with its reason.
    """
    content, reason = (folder / first).read_bytes(), ""
    for place in dict.fromkeys([folder.absolute(), folder.resolve()]):
        made, before = None, _storage(rest, number, place)
        if before is None:
            values = {"title": f"{title}: needs no sync"[:256], "path": str(place), "use_blob_urls": True}
            try:
                made = rest.make(
                    "/api/storages/localfiles",
                    {"project": int(number), **values},
                    partial(_storage, rest, number, place),
                )
            except RefusedError as refused:
                reason = refused.words
                continue
        for root in place.parents:
            prefix = f"{LOCAL_FILES}{quote(place.relative_to(root).as_posix())}/"
            try:
                if rest.content(prefix + quote(first)) == content:
                    return prefix
            except RefusedError as refused:
                if refused.status != 404:
                    reason = refused.words
        if made is not None:
            rest.delete(f"/api/storages/localfiles/{made}")
    raise RefusedError(400, reason or "it has no such pictures, or others, under this path")


def _storage(rest: Rest, number: str, place: Path) -> int | None:
    """Return the number of the storage by which a project may be served the pictures of a folder."""
    stored = rest.get("/api/storages/localfiles", {"project": number})
    return next((one["id"] for one in stored if one["path"] == str(place) and one["use_blob_urls"]), None)


def upload(rest: Rest, number: str, identity: str, pictures: Sequence[Picture]) -> dict[int, str]:
    """Upload the pictures that the server does not have yet, and return the addresses of all by their numbers.

    Parameters
    ----------
    identity
        Of the project, for the names of pictures whose own name the server would change.

    Raises
    ------
    InputError
        Where the server does not take one.
    StepError
        Where it breaks off again and again.
    """
    names = {
        one.image: one.path.name
        if KEPT_NAME.fullmatch(one.path.name)
        else f"mgral-{identity[:8]}-{one.image}{one.path.suffix.lower()}"
        for one in pictures
    }
    sizes = {one.image: one.path.stat().st_size for one in pictures}
    failures, most = 0, -1
    while True:
        there = _uploaded(rest, number)
        found = {one: there[names[one], sizes[one]] for one in names if (names[one], sizes[one]) in there}
        left = [one for one in pictures if one.image not in found]
        if not left:
            return found
        failures, most = (0, len(found)) if len(found) > most else (failures + 1, most)
        if failures == TRIES:
            raise StepError(
                f"{rest.url} does not keep the pictures; see to the server, and run the same command again"
            )
        try:
            for chunk in _chunks(tracked(left, "pictures", len(pictures), "picture", len(found)), sizes):
                _upload_chunk(rest, number, chunk, names)
        except UnsureError as error:
            rest.wait(failures, str(error))


def _upload_chunk(rest: Rest, number: str, chunk: Sequence[Picture], names: Mapping[int, str]) -> None:
    files = {f"file{one.image}": (names[one.image], one.path.read_bytes()) for one in chunk}
    try:
        rest.post(f"/api/projects/{number}/import", {"commit_to_project": "false"}, files=files)
    except RefusedError as error:
        raise InputError(
            f"{rest.url} does not take the pictures {chunk[0].path.name} to {chunk[-1].path.name} ({error.words}); "
            "let it read them from the disk (--pictures serve)"
        ) from None


def _uploaded(rest: Rest, number: str) -> dict[tuple[str, int], str]:
    """Return the addresses of what was uploaded to a project, by name as it was sent and size in bytes."""
    files = rest.get(f"/api/projects/{number}/file-uploads", {"all": "true", "ids": json.dumps([])})
    return {
        (UPLOADED.sub("", one["file"].rpartition("/")[2]), one["size"]): f"/data/{quote(one['file'])}"
        for one in files
    }


def _chunks(pictures: Iterator[Picture], sizes: Mapping[int, int]) -> Iterator[list[Picture]]:
    chunk: list[Picture] = []
    total = 0
    for one in pictures:
        if chunk and (len(chunk) == FILES or total + sizes[one.image] > BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(one)
        total += sizes[one.image]
    if chunk:
        yield chunk
