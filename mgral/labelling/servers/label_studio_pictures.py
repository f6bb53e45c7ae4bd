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

MOST_FILES, MOST_BYTES = 20, 32 * 2**20
"""Pictures, and bytes of them, in a request at most; a picture by itself may be larger."""
KEPT_NAME = re.compile(r"[-\w.]{1,60}")
"""Names that Label Studio does not change: Django takes other characters out, and cuts long ones."""


class Picture(NamedTuple):
    """A picture of a task."""

    image: int
    """Its number in the project."""
    path: Path
    """Its file."""


def serve(rest: Rest, number: str, title: str, folder: Path, picture_name: str) -> str:
    """Let the server read pictures from the disk, and return how their addresses begin.

    The server must run where the folder is, with a document root above it; where that is, is tried out.

    Parameters
    ----------
    number
        Of the server's project.
    picture_name
        Name of a picture in the folder, whose bytes are compared.

    Raises
    ------
    RefusedError
        Where it does not, with its reason.
    """
    content, reason = (folder / picture_name).read_bytes(), ""
    for path in dict.fromkeys([folder.absolute(), folder.resolve()]):
        new_storage, old_storage = None, _storage(rest, number, path)
        if old_storage is None:
            values = {"title": f"{title}: needs no sync"[:256], "path": str(path), "use_blob_urls": True}
            try:
                new_storage = rest.make(
                    "/api/storages/localfiles",
                    {"project": int(number), **values},
                    partial(_storage, rest, number, path),
                )
            except RefusedError as refused:
                reason = refused.reply
                continue
        for root in path.parents:
            prefix = f"{LOCAL_FILES}{quote(path.relative_to(root).as_posix())}/"
            try:
                if rest.content(prefix + quote(picture_name)) == content:
                    return prefix
            except RefusedError as refused:
                if refused.status != 404:
                    reason = refused.reply
        if new_storage is not None:
            rest.delete(f"/api/storages/localfiles/{new_storage}")
    raise RefusedError(400, reason or "it has no such pictures, or others, under this path")


def _storage(rest: Rest, number: str, path: Path) -> int | None:
    """Return the number of the storage by which a project may be served the pictures of a folder."""
    storages = rest.get("/api/storages/localfiles", {"project": number})
    return next(
        (storage["id"] for storage in storages if storage["path"] == str(path) and storage["use_blob_urls"]), None
    )


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
        picture.image: picture.path.name
        if KEPT_NAME.fullmatch(picture.path.name)
        else f"mgral-{identity[:8]}-{picture.image}{picture.path.suffix.lower()}"
        for picture in pictures
    }
    sizes = {picture.image: picture.path.stat().st_size for picture in pictures}
    failures, most = 0, -1
    while True:
        addresses = _uploaded_addresses(rest, number)
        uploaded = {
            image: addresses[names[image], sizes[image]]
            for image in names
            if (names[image], sizes[image]) in addresses
        }
        remaining = [picture for picture in pictures if picture.image not in uploaded]
        if not remaining:
            return uploaded
        failures, most = (0, len(uploaded)) if len(uploaded) > most else (failures + 1, most)
        if failures == TRIES:
            raise StepError(
                f"{rest.url} does not keep the pictures; see to the server, and run the same command again"
            )
        try:
            for chunk in _chunks(tracked(remaining, "pictures", len(pictures), "picture", len(uploaded)), sizes):
                _upload_chunk(rest, number, chunk, names)
        except UnsureError as error:
            rest.wait(failures, str(error))


def _upload_chunk(rest: Rest, number: str, chunk: Sequence[Picture], names: Mapping[int, str]) -> None:
    files = {f"file{picture.image}": (names[picture.image], picture.path.read_bytes()) for picture in chunk}
    try:
        rest.post(f"/api/projects/{number}/import", {"commit_to_project": "false"}, files=files)
    except RefusedError as error:
        raise InputError(
            f"{rest.url} does not take the pictures {chunk[0].path.name} to {chunk[-1].path.name} ({error.reply}); "
            "let it read them from the disk (--pictures serve)"
        ) from None


def _uploaded_addresses(rest: Rest, number: str) -> dict[tuple[str, int], str]:
    """Return the addresses of what was uploaded to a project, by name as it was sent and size in bytes."""
    files = rest.get(f"/api/projects/{number}/file-uploads", {"all": "true", "ids": json.dumps([])})
    return {
        (UPLOADED.sub("", file["file"].rpartition("/")[2]), file["size"]): f"/data/{quote(file['file'])}"
        for file in files
    }


def _chunks(pictures: Iterator[Picture], sizes: Mapping[int, int]) -> Iterator[list[Picture]]:
    """Yield the pictures of each request, given the sizes of all in bytes by their numbers."""
    chunk: list[Picture] = []
    total = 0
    for picture in pictures:
        if chunk and (len(chunk) == MOST_FILES or total + sizes[picture.image] > MOST_BYTES):
            yield chunk
            chunk, total = [], 0
        chunk.append(picture)
        total += sizes[picture.image]
    if chunk:
        yield chunk
